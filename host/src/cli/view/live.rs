//! The live view on a terminal: events and keys in, frames out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use super::feed::feed;
use super::model::{Model, Moment};
use super::screen::{Look, draw};
use super::{Ending, Show, clock};
use crate::cli::client::Client;
use crate::cli::failure::Failure;

/// How often the screen is drawn at most.
const FRAME: Duration = Duration::from_millis(100);

/// Shows the host until a key or a signal ends it.
pub(super) async fn run(client: Client, show: &Show, color: bool, mut ending: Ending) -> Result<(), Failure> {
    let model = Model::new(show.title, &client.address().to_string());
    let mut app = App { model, frozen: None, color, started: Instant::now() };
    let (mut events, work) = feed(client);
    let feeding = tokio::spawn(work);
    let keys = Keys::read();
    // Gives the terminal back whatever happens, a panic included.
    let mut terminal = ratatui::try_init()?;
    let done = app.run(&mut terminal, &mut events, keys, &mut ending).await;
    feeding.abort();
    ratatui::try_restore()?;
    done
}

struct App {
    model: Model,
    /// What is shown while the view is paused.
    frozen: Option<Box<Model>>,
    color: bool,
    started: Instant,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Interrupt,
    Nothing,
}

impl App {
    async fn run(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        events: &mut Receiver<super::feed::FeedEvent>,
        mut keys: Keys,
        ending: &mut Ending,
    ) -> Result<(), Failure> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                ended = ending.wait() => return ended,
                key = keys.receiver.recv() => match key {
                    Some(Event::Key(key)) => match self.press(key) {
                        Wish::Quit => return Ok(()),
                        Wish::Interrupt => return Err(Failure::Interrupted),
                        Wish::Nothing => self.draw(terminal)?,
                    },
                    Some(_) => self.draw(terminal)?,
                    None => return Err(Failure::Output(io::Error::other("the terminal gives no keys"))),
                },
                _ = frames.tick() => self.draw(terminal)?,
                event = events.recv() => match event {
                    Some(event) => {
                        let at = Moment { since: self.started.elapsed(), clock: clock() };
                        self.model.apply(event, &at);
                    }
                    None => return Err(Failure::Lost("nothing follows its tables any more".to_owned())),
                },
            }
        }
    }

    fn draw(&self, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
        let model = self.frozen.as_deref().unwrap_or(&self.model);
        let look = Look { now: self.started.elapsed(), paused: self.frozen.is_some(), color: self.color };
        terminal.draw(|frame| draw(frame, model, look))?;
        Ok(())
    }

    fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Wish::Interrupt;
        }
        let shown = self.frozen.as_deref_mut().unwrap_or(&mut self.model);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
            KeyCode::Char('p' | ' ') => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.model.clone())),
                };
            }
            KeyCode::Tab | KeyCode::Right => shown.select(1),
            KeyCode::BackTab | KeyCode::Left => shown.select(-1),
            KeyCode::Down | KeyCode::Char('j') => shown.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => shown.scroll(-1),
            KeyCode::PageDown => shown.scroll(20),
            KeyCode::PageUp => shown.scroll(-20),
            KeyCode::Home => shown.scroll(isize::MIN),
            KeyCode::End => shown.scroll(isize::MAX),
            _ => {}
        }
        Wish::Nothing
    }
}

/// The terminal's events, read on a thread of their own.
struct Keys {
    receiver: Receiver<Event>,
    stop: Arc<AtomicBool>,
}

impl Keys {
    fn read() -> Self {
        let (sender, receiver) = channel(64);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let read = |sender: &Sender<Event>| {
                let event = crossterm::event::read().ok()?;
                sender.blocking_send(event).ok()
            };
            while !stopped.load(Ordering::Relaxed) {
                match crossterm::event::poll(FRAME) {
                    Ok(false) => {}
                    Ok(true) if read(&sender).is_some() => {}
                    Ok(true) | Err(_) => return,
                }
            }
        });
        Self { receiver, stop }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::{snapshot, step};
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_do_what_the_footer_says() {
        let mut app = App { model: Model::new("top", "here"), frozen: None, color: true, started: Instant::now() };
        let at = Moment::default();
        app.model.apply(snapshot("a", "one", &["id"], json!([{"id": 1}])), &at);
        app.model.apply(snapshot("a", "two", &["id"], json!([])), &at);
        let press = |app: &mut App, code| app.press(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(press(&mut app, KeyCode::Char('q')), Wish::Quit);
        assert_eq!(press(&mut app, KeyCode::Tab), Wish::Nothing);
        assert_eq!(app.model.selected().unwrap().0.table, "two");
        press(&mut app, KeyCode::BackTab);
        press(&mut app, KeyCode::Char('p'));
        app.model.apply(step("a", "one", 1, json!({"added": [{"id": 2}]})), &at);
        assert_eq!(app.frozen.as_ref().unwrap().selected().unwrap().1.len(), 1);
        press(&mut app, KeyCode::Char('p'));
        assert!(app.frozen.is_none());
        assert_eq!(app.model.selected().unwrap().1.len(), 2);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.press(interrupt), Wish::Interrupt);
        for code in [KeyCode::End, KeyCode::Home, KeyCode::PageDown, KeyCode::PageUp] {
            assert_eq!(press(&mut app, code), Wish::Nothing);
        }
    }
}
