//! Files that keep changing, for a demonstration to show: a shop's orders and a building's sensors.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

/// How often something changes.
const PACE: Duration = Duration::from_millis(1500);
/// How many orders there are at most; then the oldest goes.
const ORDERS: usize = 16;
const CUSTOMERS: [&str; 5] = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov"];
const PRODUCTS: [(&str, u64); 4] =
    [("rail 3 m", 24_900), ("feed box", 8_950), ("tap-off unit", 5_420), ("end cap", 480)];
const STATUS: [&str; 4] = ["new", "paid", "packed", "sent"];
const ROOMS: [&str; 4] = ["roof", "workshop", "office", "cellar"];

/// Files in a directory: `orders.csv` (id, customer, product, quantity, total, status) and `sensors.ndjson` (sensor, room,
/// celsius, window).
pub(crate) struct Samples {
    folder: PathBuf,
    orders: Vec<Order>,
    celsius: [i64; ROOMS.len()],
    open: [bool; ROOMS.len()],
    next: u64,
    dice: u64,
}

struct Order {
    id: u64,
    customer: &'static str,
    product: (&'static str, u64),
    quantity: u64,
    status: usize,
}

impl Samples {
    /// Writes the first files into an existing directory.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let mut samples = Self {
            folder: folder.to_owned(),
            orders: Vec::new(),
            celsius: [12, 21, 22, 15],
            open: [false; ROOMS.len()],
            next: 1001,
            dice: 0x2545_f491_4f6c_dd1d,
        };
        for _ in 0..ORDERS / 2 {
            samples.order();
        }
        samples.write()?;
        Ok(samples)
    }

    /// Changes the files again and again, until it is dropped or they can't be written.
    pub(crate) async fn keep_changing(mut self) -> io::Result<()> {
        loop {
            sleep(PACE).await;
            self.change();
            self.write()?;
        }
    }

    /// One turn: an order comes or is one step further, a room gets warmer or colder.
    fn change(&mut self) {
        let at = self.roll(self.orders.len() as u64 * 3 / 2) as usize;
        match self.orders.get_mut(at) {
            Some(order) if order.status + 1 < STATUS.len() => order.status += 1,
            Some(_) => {
                self.orders.remove(at);
            }
            None => self.order(),
        }
        let room = self.roll(ROOMS.len() as u64) as usize;
        match self.roll(6) {
            0 => self.open[room] = !self.open[room],
            1 => self.celsius[room] = (self.celsius[room] + 1).min(30),
            2 => self.celsius[room] = (self.celsius[room] - 1).max(5),
            _ => {}
        }
    }

    fn order(&mut self) {
        let customer = CUSTOMERS[self.roll(CUSTOMERS.len() as u64) as usize];
        let product = PRODUCTS[self.roll(PRODUCTS.len() as u64) as usize];
        let quantity = 1 + self.roll(9);
        self.orders.push(Order { id: self.next, customer, product, quantity, status: 0 });
        self.next += 1;
        if self.orders.len() > ORDERS {
            self.orders.remove(0);
        }
    }

    /// Each file is complete at every instant: it is written beside itself, then takes its own place.
    fn write(&self) -> io::Result<()> {
        let mut orders = String::from("id,customer,product,quantity,total,status\n");
        for Order { id, customer, product: (product, cents), quantity, status } in &self.orders {
            let total = cents * quantity;
            let (whole, part) = (total / 100, total % 100);
            let _ = writeln!(orders, "{id},{customer},{product},{quantity},{whole}.{part:02},{}", STATUS[*status]);
        }
        let mut sensors = String::new();
        for (index, room) in ROOMS.iter().enumerate() {
            let window = if self.open[index] { "open" } else { "closed" };
            let sensor = serde_json::json!({
                "sensor": format!("t{}", index + 1), "room": room, "celsius": self.celsius[index], "window": window,
            });
            let _ = writeln!(sensors, "{sensor}");
        }
        for (name, text) in [("orders.csv", orders), ("sensors.ndjson", sensors)] {
            let beside = self.folder.join(format!(".{name}.new"));
            fs::write(&beside, text)?;
            fs::rename(&beside, self.folder.join(name))?;
        }
        Ok(())
    }

    /// A number below `sides`, the same ones in every demonstration.
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_files_change_and_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut samples = Samples::new(folder.path()).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..300 {
            let orders = fs::read_to_string(folder.path().join("orders.csv")).unwrap();
            assert!(orders.lines().all(|line| line.split(',').count() == 6), "{orders}");
            assert!((1..=ORDERS + 1).contains(&orders.lines().count()));
            let sensors = fs::read_to_string(folder.path().join("sensors.ndjson")).unwrap();
            assert!(sensors.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
            seen.insert((orders, sensors));
            samples.change();
            samples.write().unwrap();
        }
        assert!(seen.len() > 250, "only {} different states", seen.len());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn they_change_until_nobody_wants_them_to() {
        let folder = tempfile::tempdir().unwrap();
        let changing = Samples::new(folder.path()).unwrap().keep_changing();
        assert!(tokio::time::timeout(Duration::from_millis(1), changing).await.is_err());
    }
}
