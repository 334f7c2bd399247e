//! stub
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
/// stub
pub enum To<'a> {
    /// stub
    Node(&'a str),
    /// stub
    All,
}
/// stub
pub struct Received {
    /// stub
    pub from: String,
    /// stub
    pub message: Arc<[u8]>,
}
/// stub
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// stub
    fn send(&self, to: To<'_>, message: Arc<[u8]>);
    /// stub
    fn max_message(&self) -> usize;
    /// stub
    fn receive(&self) -> Pin<Box<dyn Future<Output = Option<Received>> + Send + '_>>;
}
