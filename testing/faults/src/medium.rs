//! A medium that counts operations and lets them fail on demand, and knows what a loss of power would
//! leave of each file.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use parking_lot::{Mutex, MutexGuard};

use crate::dice::Dice;

/// An operation of a medium. Reads do not count, because caches make their number random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file is opened.
    Open,
    /// Bytes are written.
    Write,
    /// A file's length is set.
    Resize,
    /// Earlier writes are made durable.
    Sync,
    /// A file is removed.
    Delete,
    /// Memory is shared with other processes.
    Map,
}

/// What goes wrong at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and a write is done in part. Later operations succeed. What a failed sync should have
    /// made durable is lost, as on Linux.
    Error,
    /// There is no space for this many operations that need some.
    Full(u64),
    /// It is the last one: nothing is written after it.
    PowerCut,
    /// The process dies before it.
    Kill,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// As a broken disk does.
    Broken,
    /// As a full one does.
    Full,
}

/// Bytes that are written together or not at all.
const SECTOR: u64 = 512;

/// The medium under the files of one store.
#[derive(Debug, Default)]
pub struct Medium(Mutex<State>);

/// The media that were laid under paths.
static MEDIA: LazyLock<Mutex<HashMap<String, Arc<Medium>>>> = LazyLock::new(Mutex::default);

/// A lasting fault, until it is dropped.
pub struct Lasting(Arc<Medium>);

impl Drop for Lasting {
    fn drop(&mut self) {
        self.0.fail_syncs(false);
        self.0.set_room(None);
    }
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    fault: Option<(u64, Fault)>,
    has_struck: bool,
    down: bool,
    failing_syncs: bool,
    has_failed_sync: bool,
    /// The most bytes that all files may have together.
    room: Option<u64>,
    /// By name, where losses of power are modelled.
    files: Option<BTreeMap<String, File>>,
}

#[derive(Debug, Default)]
struct File {
    /// The content after a loss of power; `None` if even the name may be lost.
    durable: Option<Vec<u8>>,
    /// Later changes, in order.
    unsynced: Vec<Change>,
    len: u64,
    /// Removed, and the removal may be undone.
    deleted: bool,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

impl Medium {
    /// A medium that does not model a loss of power.
    pub fn new() -> Self {
        Self::default()
    }

    /// A medium that models it, for files that are created on it or [put](Self::put) there.
    pub fn modelled() -> Self {
        Self(Mutex::new(State { files: Some(BTreeMap::new()), ..State::default() }))
    }

    /// The medium under a path: the one that was laid there, or a new one.
    pub fn under(path: &str) -> Arc<Self> {
        MEDIA.lock().entry(path.to_owned()).or_default().clone()
    }

    /// Lays a medium under a path whose file is not open.
    pub fn lay_under(path: &str, medium: Arc<Self>) {
        MEDIA.lock().insert(path.to_owned(), medium);
    }

    /// Lets syncs fail until the guard is dropped.
    pub fn failing_syncs(self: Arc<Self>) -> Lasting {
        self.fail_syncs(true);
        Lasting(self)
    }

    /// Lets no file grow until the guard is dropped.
    pub fn full(self: Arc<Self>) -> Lasting {
        self.set_room(Some(0));
        Lasting(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Puts a durable file there.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        if let Some(files) = &mut self.state().files {
            let len = content.len() as u64;
            files.insert(name.to_owned(), File { durable: Some(content), len, ..File::default() });
        }
    }

    /// Lets the n-th operation from now fail; 1 is the next.
    pub fn arm(&self, operation: u64, fault: Fault) {
        let mut state = self.state();
        (state.operations, state.has_struck) = (0, false);
        state.fault = Some((operation, fault));
    }

    /// Ends all faults but a loss of power.
    pub fn disarm(&self) {
        self.state().fault = None;
    }

    /// How many operations there were since it was [armed](Self::arm).
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether what it was [armed](Self::arm) with has come to pass.
    pub fn has_struck(&self) -> bool {
        self.state().has_struck
    }

    /// Whether there is no power.
    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// Whether a sync has failed: what a file shows need not be on the medium.
    pub fn has_failed_sync(&self) -> bool {
        self.state().has_failed_sync
    }

    /// Lets all syncs fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().failing_syncs = fail;
    }

    /// How many bytes the files may have together.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// Whether syncs are the model's matter: the machine's own need not be waited for.
    pub fn is_modelled(&self) -> bool {
        self.state().files.is_some()
    }

    /// A file is opened, and made if it is not there.
    ///
    /// # Errors
    /// How that fails.
    pub fn open(&self, name: &str) -> Result<(), Failure> {
        let mut state = self.state();
        state.ask(Operation::Open)?;
        if let Some(files) = &mut state.files {
            let file = files.entry(name.to_owned()).or_default();
            if file.deleted {
                *file = File::default();
            }
        }
        Ok(())
    }

    /// Bytes are to be written.
    ///
    /// # Errors
    /// How that fails, and how many bytes get there all the same.
    pub fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), (Failure, usize)> {
        let mut state = self.state();
        let end = offset + bytes.len() as u64;
        let asked = state.ask(Operation::Write).and_then(|()| state.grow(name, end));
        let down = state.down;
        let written = match asked {
            Ok(()) => bytes.len(),
            // It may be on the medium all the same, or a part of it.
            Err(_) if down => bytes.len(),
            Err(_) => bytes.len() / 2,
        };
        if let Some(file) = state.file(name) {
            file.unsynced.push(Change::Write(offset, bytes[..written].to_vec()));
            file.len = file.len.max(offset + written as u64);
        }
        asked.map_err(|failure| (failure, if down { 0 } else { written }))
    }

    /// A file's length is to be set.
    ///
    /// # Errors
    /// How that fails.
    pub fn resize(&self, name: &str, len: u64) -> Result<(), Failure> {
        let mut state = self.state();
        state.ask(Operation::Resize)?;
        state.grow(name, len)?;
        if let Some(file) = state.file(name) {
            file.unsynced.push(Change::Resize(len));
            file.len = len;
        }
        Ok(())
    }

    /// What was written is to stay.
    ///
    /// # Errors
    /// How that fails.
    pub fn sync(&self, name: &str) -> Result<(), Failure> {
        let mut state = self.state();
        let failing = if state.failing_syncs { Err(Failure::Broken) } else { Ok(()) };
        let synced = state.ask(Operation::Sync).and(failing);
        let down = state.down;
        let Some(file) = state.file(name) else { return synced };
        match synced {
            Ok(()) => {
                let durable = file.durable.get_or_insert_default();
                for change in file.unsynced.drain(..) {
                    change.apply(durable);
                }
                // It keeps what was done to the folder as well.
                state.files.iter_mut().for_each(|files| files.retain(|_, file| !file.deleted));
            }
            Err(_) if down => {}
            Err(_) => {
                file.unsynced.clear();
                state.has_failed_sync = true;
            }
        }
        synced
    }

    /// A file is to be removed.
    ///
    /// # Errors
    /// How that fails.
    pub fn delete(&self, name: &str) -> Result<(), Failure> {
        let mut state = self.state();
        state.ask(Operation::Delete)?;
        if let Some(file) = state.file(name) {
            file.deleted = true;
            file.len = 0;
        }
        Ok(())
    }

    /// Memory is to be shared.
    ///
    /// # Errors
    /// How that fails.
    pub fn map(&self) -> Result<(), Failure> {
        self.state().ask(Operation::Map)
    }

    /// The files as a loss of power leaves them: what was synced, and of what was not as much as
    /// the dice say. Files that are gone are not among them. The power is back afterwards.
    pub fn after_power_cut(&self, seed: u64) -> BTreeMap<String, Vec<u8>> {
        let mut dice = Dice::new(seed);
        // All of it, none, or anything between.
        let kept_of_8 = [8, 0, 4, 7, 1][dice.below(5) as usize];
        let mut state = self.state();
        (state.down, state.has_failed_sync) = (false, false);
        let mut left = BTreeMap::new();
        let Some(files) = &mut state.files else { return left };
        for (name, file) in std::mem::take(files) {
            if file.deleted && dice.below(2) == 0 {
                continue;
            }
            let new = file.durable.is_none();
            let mut content = file.durable.unwrap_or_default();
            for change in file.unsynced {
                if dice.below(8) >= kept_of_8 {
                    continue;
                }
                match change {
                    Change::Write(offset, bytes) if dice.below(8) == 0 => {
                        torn(offset, bytes, &mut dice).apply(&mut content);
                    }
                    change => change.apply(&mut content),
                }
            }
            if !(new && content.is_empty()) {
                left.insert(name, content);
            }
        }
        for (name, content) in &left {
            let (durable, len) = (Some(content.clone()), content.len() as u64);
            files.insert(name.clone(), File { durable, len, ..File::default() });
        }
        left
    }
}

/// A write whose end did not get there.
fn torn(offset: u64, mut bytes: Vec<u8>, dice: &mut Dice) -> Change {
    let end = offset + bytes.len() as u64;
    let sectors = end / SECTOR - offset / SECTOR;
    let cut = (offset / SECTOR + dice.below(sectors + 1)) * SECTOR;
    bytes.truncate(cut.saturating_sub(offset) as usize);
    Change::Write(offset, bytes)
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Resize(len) => content.resize(len as usize, 0),
            Self::Write(offset, bytes) => {
                let (offset, end) = (offset as usize, offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[offset..end].copy_from_slice(&bytes);
            }
        }
    }
}

impl State {
    fn ask(&mut self, operation: Operation) -> Result<(), Failure> {
        self.operations += 1;
        if self.down {
            return Err(Failure::Broken);
        }
        let Some((at, fault)) = self.fault else { return Ok(()) };
        let wants_room = matches!(operation, Operation::Write | Operation::Resize | Operation::Map);
        let failure = match fault {
            Fault::Full(left) if self.operations >= at && wants_room => {
                self.fault = (left > 1).then_some((at, Fault::Full(left - 1)));
                Failure::Full
            }
            Fault::Error if self.operations == at => Failure::Broken,
            Fault::PowerCut if self.operations == at => {
                self.down = true;
                Failure::Broken
            }
            Fault::Kill if self.operations == at => std::process::abort(),
            _ => return Ok(()),
        };
        self.has_struck = true;
        Err(failure)
    }

    fn file(&mut self, name: &str) -> Option<&mut File> {
        self.files.as_mut().map(|files| files.entry(name.to_owned()).or_default())
    }

    /// Whether there is space for a file of this size, beside the others where they are known.
    fn grow(&mut self, name: &str, len: u64) -> Result<(), Failure> {
        let Some(room) = self.room else { return Ok(()) };
        let Some(files) = &self.files else {
            let now = std::fs::metadata(name).map_or(0, |file| file.len());
            return if len > now.max(room) { Err(Failure::Full) } else { Ok(()) };
        };
        let now = files.get(name).map_or(0, |file| file.len);
        let all: u64 = files.values().map(|file| file.len).sum();
        if len > now && all - now + len > room { Err(Failure::Full) } else { Ok(()) }
    }
}
