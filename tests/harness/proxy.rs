//! What stands between a client and a host, and cuts connections.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A way to a host that can be cut.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    target: Arc<Mutex<String>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

fn target_of(url: &str) -> String {
    url.strip_prefix("http://").expect("an URL").to_owned()
}

impl Proxy {
    /// A way to that host.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            target: Arc::new(Mutex::new(target_of(url))),
            open: Arc::default(),
        };
        let (target, open) = (Arc::clone(&proxy.target), Arc::clone(&proxy.open));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address = target.lock().expect("nobody panics").clone();
                // A host that is not there: the client sees its connection close.
                let Ok(server) = TcpStream::connect(address) else { continue };
                let twice = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                open.lock().expect("nobody panics").push(twice(&client));
                join(twice(&client), twice(&server));
                join(server, client);
            }
        });
        proxy
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts all connections; new ones are let through.
    pub fn cut(&self) {
        for client in self.open.lock().expect("nobody panics").drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Leads to another host from now on.
    pub fn lead_to(&self, url: &str) {
        *self.target.lock().expect("nobody panics") = target_of(url);
        self.cut();
    }
}

fn join(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
