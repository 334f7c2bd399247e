//! Reading `text/event-stream`.

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    /// What it is.
    pub(crate) event: String,
    /// Where it stands.
    pub(crate) id: Option<String>,
    /// Its text.
    pub(crate) data: String,
}

/// Takes a stream's bytes as they come and gives its events.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What came and is not read yet.
    pending: Vec<u8>,
    /// How much of it was searched for a line's end.
    searched: usize,
    current: StreamEvent,
    has_data: bool,
}

impl Decoder {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next event that is complete.
    pub(crate) fn next_event(&mut self) -> Option<StreamEvent> {
        let mut read = 0;
        let mut found = None;
        while let Some(at) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + at;
            let line = String::from_utf8_lossy(&self.pending[read..end]).into_owned();
            read = end + 1;
            self.searched = read;
            found = self.line(line.strip_suffix('\r').unwrap_or(&line));
            if found.is_some() {
                break;
            }
        }
        if found.is_none() {
            self.searched = self.pending.len();
        }
        self.pending.drain(..read);
        self.searched -= read;
        found
    }

    fn line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.current);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.current.event),
            "data" => {
                if self.has_data {
                    self.current.data.push('\n');
                }
                self.has_data = true;
                self.current.data.push_str(value);
            }
            "id" => self.current.id = Some(value.to_owned()),
            // Comments have an empty name.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<(String, String)> {
        std::iter::from_fn(|| decoder.next_event()).map(|event| (event.event, event.data)).collect()
    }

    #[test]
    fn events_are_read_wherever_the_bytes_are_cut() {
        let text =
            ": keep-alive\n\nevent: snapshot\nid: 1:2\ndata: {\"a\":\ndata: \"ü\"}\n\nevent:gone\r\ndata:{}\r\n\r\n";
        let expected =
            vec![("snapshot".to_owned(), "{\"a\":\n\"ü\"}".to_owned()), ("gone".to_owned(), "{}".to_owned())];
        for size in 1..text.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in text.as_bytes().chunks(size) {
                decoder.push(part);
                found.extend(all(&mut decoder));
            }
            assert_eq!(found, expected, "in pieces of {size}");
            assert!(decoder.pending.is_empty());
        }
    }

    #[test]
    fn what_is_not_complete_waits() {
        let mut decoder = Decoder::default();
        decoder.push(b"event: step\ndata: 1\n");
        assert_eq!(decoder.next_event(), None);
        decoder.push(b"\n");
        assert_eq!(all(&mut decoder), [("step".to_owned(), "1".to_owned())]);
        decoder.push(b"event: step\n\n");
        assert_eq!(decoder.next_event(), None, "an event without data is none");
    }
}
