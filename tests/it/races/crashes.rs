//! One life after another, each with a crash at another instant: at every commit, and on each side of every driver call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth::sim::{CallSide, Node, World, WorldOptions, simulate};
use hearth::store::InlineFault;

use super::scenario::Client;

/// What happens to some volumes, and what must be true of them after a crash on the way.
pub trait Life {
    /// Before the first request.
    fn new(client: &Client<'_>) -> Self;

    /// None: the process died on the way; `self` then knows what had been answered.
    async fn live(&mut self, client: &Client<'_>) -> Option<()>;

    /// After the crash and a restart: waits until everything agrees.
    async fn until_clean(&self, client: &Client<'_>) {
        client.assert_clean().await;
    }

    /// After the crash and a restart, when everything has settled by itself: what was promised, and that the owner can remove
    /// what is there.
    async fn aftermath(&self, client: &Client<'_>);
}

/// How many commits and driver calls a life without faults has; it ends clean.
pub fn measure<L: Life>() -> (u64, u64) {
    simulate(WorldOptions::seeded(1), async |world| {
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        world.store().set_fault_hook(Some(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            InlineFault::None
        })));
        world.crash_plan.arm(u64::MAX, CallSide::Before, || {});
        let node = world.start().await;
        let client = Client::new(world, &node);
        L::new(&client).live(&client).await.expect("nobody dies");
        client.assert_clean().await;
        (commits.load(Ordering::SeqCst), world.crash_plan.calls())
    })
}

/// Crashes before and after each commit, of which there must be so many.
pub fn at_every_commit<L: Life>(at_least: u64) {
    let (commits, _) = measure::<L>();
    assert!(commits >= at_least, "{commits} commits");
    for nth in 1..=commits {
        for fault in [InlineFault::CrashBefore, InlineFault::CrashAfter] {
            crash::<L>(nth, async |world| {
                let mut seen = 0;
                world.store().set_fault_hook(Some(Box::new(move |_| {
                    seen += 1;
                    if seen == nth { fault } else { InlineFault::None }
                })));
                world.start().await
            });
        }
    }
}

/// Crashes on each side of each driver call, of which there must be so many.
pub fn around_every_call<L: Life>(at_least: u64) {
    let (_, calls) = measure::<L>();
    assert!(calls >= at_least, "{calls} driver calls");
    for nth in 1..=calls {
        for side in [CallSide::Before, CallSide::After] {
            crash::<L>(nth, async |world| {
                let node = world.start().await;
                let store = world.store();
                world.crash_plan.arm(nth, side, move || store.crash());
                node
            });
        }
    }
}

/// A life on a process that `start` lets die on the way, and what comes after.
fn crash<L: Life>(nth: u64, start: impl AsyncFnOnce(&World) -> Node) {
    simulate(WorldOptions::seeded(nth), async |world| {
        let node = start(world).await;
        let client = Client::new(world, &node);
        let mut life = L::new(&client);
        assert!(life.live(&client).await.is_none(), "commit or call {nth} was never reached");
        node.crash();

        world.crash_plan.disarm();
        world.store().set_fault_hook(None);
        let node = world.start().await;
        let client = Client::new(world, &node);
        life.until_clean(&client).await;
        life.aftermath(&client).await;
        client.assert_clean().await;
    });
}
