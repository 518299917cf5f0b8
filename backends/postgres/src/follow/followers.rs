//! The followers of a backend that wait at this moment, and whether somebody listens for them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long the connection stays when no follower waits.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    waiting: usize,
    /// There is a task that listens, or it has ended for good.
    listening: bool,
}

#[derive(Default)]
pub(crate) struct Followers {
    state: watch::Sender<State>,
}

/// A follower that waits.
pub(super) struct Waiting<'a>(&'a Followers);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.waiting -= 1);
    }
}

impl Followers {
    /// One more waits. With `listen`, it also says whether a task is to be started that listens.
    pub(super) fn wait(&self, listen: bool) -> (Waiting<'_>, bool) {
        let mut begins = false;
        self.state.send_modify(|state| {
            state.waiting += 1;
            begins = listen && !std::mem::replace(&mut state.listening, true);
        });
        (Waiting(self), begins)
    }

    /// Resolves when no follower has waited for a while. From then on somebody else may begin.
    pub(super) async fn unwanted(&self) {
        let mut state = self.state.subscribe();
        loop {
            // The sender is part of `self`.
            drop(state.wait_for(|state| state.waiting == 0).await);
            let wanted = timeout(LINGER, state.wait_for(|state| state.waiting > 0)).await.is_ok();
            let ends = |state: &mut State| {
                let ends = state.waiting == 0;
                state.listening = !ends;
                ends
            };
            if !wanted && self.state.send_if_modified(ends) {
                return;
            }
        }
    }
}
