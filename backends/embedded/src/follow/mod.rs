//! Following: what arrived behind a position.
//!
//! Enters: a position, which is the number of a block of the head and perhaps a row of the next one.
//! Leaves: a page of rows in order of arrival. Blocks that are still in the head are taken as they are.
//! Of runs, which are sorted by record, a [`Window`] of consecutive numbers is put back into the order
//! of arrival; the last ones stay in memory, because the next page comes from the same one. Followers
//! wait for [`News`], which the writer and, for other processes, a watcher give.

mod names;
mod news;
mod page;
mod watcher;
mod window;

pub(crate) use names::NamesById;
pub(crate) use news::News;
pub(crate) use page::{Request, page};
pub(crate) use watcher::Watcher;
pub(crate) use window::Windows;
