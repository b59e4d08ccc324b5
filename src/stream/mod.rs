//! What an API is asked: the requests that a stream begins with, before any answer has come.
//!
//! Enters: the values of a slice, `now`. Leaves: the first [`Call`](crate::job::Call) of each slice, the windows of time that a stream
//! is cut into, and from when on it is asked for. Deliberately absent: what comes after a first page (`interpret` reads that out of
//! the answer), I/O, and secrets, which the room that sends adds.

mod alias;
mod batch;
mod request;
mod since;
mod template;
mod windows;

pub use alias::Alias;
pub use batch::{Batch, Missing};
pub use request::{BodyTemplate, CallTemplate, RenderError};
pub use since::{Incremental, look_back};
pub use template::{Escape, Names, Template};
pub use windows::{Format, Window, Windows};
