//! What rows look like, and which of its looks a client wants.

use super::fault::Fault;
use axum::http::{HeaderMap, header};
use serde::Serialize;

/// What rows look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Arrow];

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// Without parameters.
    fn media(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| Fault::NoFormat(name.to_owned()))
    }

    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    pub(super) fn types() -> String {
        Self::ALL.map(Self::media).join(", ")
    }

    /// The one that a client likes best; of several the one that it names most precisely, then the first that there is.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Fault> {
        let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        if accept.iter().all(|accept| accept.trim().is_empty()) {
            return Ok(Self::Json);
        }
        let ranges: Vec<(String, f32)> = accept.iter().flat_map(|accept| accept.split(',')).filter_map(range).collect();
        // Of all ranges that meet a format the most precise one says how much it is liked.
        let liked = |format: Self| {
            let met = ranges.iter().filter_map(|(range, liked)| Some((meets(range, format.media())?, *liked)));
            met.max_by_key(|(precise, _)| *precise).filter(|(_, liked)| *liked > 0.0)
        };
        let mut best: Option<(Self, (u8, f32))> = None;
        for format in Self::ALL {
            let Some((precise, liked)) = liked(format) else { continue };
            if best.is_none_or(|(_, (known, most))| liked > most || (liked == most && precise > known)) {
                best = Some((format, (precise, liked)));
            }
        }
        best.map(|(format, _)| format).ok_or(Fault::NotAcceptable)
    }
}

/// A range of media types, and how much it is liked.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?.to_ascii_lowercase();
    let liked = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let liked = liked.map_or(Some(1.0), |liked| liked.trim().parse::<f32>().ok());
    Some((range, liked.filter(|liked| (0.0..=1.0).contains(liked))?))
}

/// How precisely a range names a type; `None`: it does not.
fn meets(range: &str, media: &str) -> Option<u8> {
    match range.split_once('/')? {
        ("*", "*") => Some(0),
        (kind, "*") => (media.split_once('/')?.0 == kind).then_some(1),
        _ => (range == media).then_some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best_of_what_there_is() {
        for (accept, format) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; charset=utf-8", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("text/csv, */*", Some(Format::Csv)),
            ("*/*, text/csv;q=0.5", Some(Format::Json)),
            ("application/vnd.apache.arrow.stream, application/json;q=0.9", Some(Format::Arrow)),
            ("application/json;q=0.2, text/csv;q=0.3", Some(Format::Csv)),
            ("application/json;q=0, */*", Some(Format::Csv)),
            // What a browser sends.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Format::Json)),
            ("text/html", None),
            ("text/csv;q=0", None),
            ("nonsense", None),
            ("text/csv;q=much", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::accepted(&headers).ok(), format, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Ok(Format::Json));
        assert_eq!(
            Fault::NotAcceptable.to_string(),
            "rows can be had as application/json, text/csv, application/vnd.apache.arrow.stream: name one in Accept, or \
             by format=json, csv, arrow"
        );
    }
}
