//! One question to a volume's actor on another thread and back: with the actor there, and with a volume that must be loaded
//! first.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hearth::actors::Service;

#[allow(dead_code, reason = "each bench uses a part")]
mod support;

use support::{refused, service};

/// Volumes that are activated before they are made passive again.
const COLD: u128 = 1_000;

async fn wait_until_passive(service: &Service) {
    while service.actors().iter().any(|actor| actor.state == "active") {
        service.sweep();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn questions(criterion: &mut Criterion) {
    let system = actix_web::rt::System::new();
    let (service, ids) = system.block_on(service(COLD));
    let mut group = criterion.benchmark_group("mailbox");
    group.bench_function("hop", |bencher| {
        bencher.iter_custom(|times| {
            system.block_on(async {
                refused(&service, ids[0]).await;
                let started = Instant::now();
                for _ in 0..times {
                    refused(&service, ids[0]).await;
                }
                started.elapsed()
            })
        });
    });
    group.bench_function("activation", |bencher| {
        bencher.iter_custom(|times| {
            system.block_on(async {
                let mut spent = Duration::ZERO;
                let mut left = times;
                while left > 0 {
                    wait_until_passive(&service).await;
                    let batch = left.min(ids.len() as u64);
                    let started = Instant::now();
                    for id in ids.iter().take(usize::try_from(batch).expect("small")) {
                        refused(&service, *id).await;
                    }
                    spent += started.elapsed();
                    left -= batch;
                }
                spent
            })
        });
    });
    group.finish();
    service.stop();
}

criterion_group!(benches, questions);
criterion_main!(benches);
