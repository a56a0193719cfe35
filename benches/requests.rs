//! A request without the network: from the parsed head to the bytes of the answer. Everybody is an administrator, so that
//! no policy is in it. A page of a thousand, too, and what the store has of it.

use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use criterion::{Criterion, criterion_group, criterion_main};
use hearth::api::dispatch::dispatch;
use hearth::domain::ids::ProjectId;
use hearth::store::{Direction, Extent, Paging, VolumeQuery};

#[allow(dead_code, reason = "each bench uses a part")]
mod support;

use support::{api, refused, service};

/// Rows of a page.
const PAGE: u128 = 1_000;

fn requests(criterion: &mut Criterion) {
    let system = actix_web::rt::System::new();
    let (service, ids) = system.block_on(service(PAGE));
    let state = api(service.clone());
    let app = system.block_on(init_service(App::new().app_data(state).default_service(web::to(dispatch))));
    // the published view of an active volume
    system.block_on(refused(&service, ids[0]));
    let ask = async |request: TestRequest, expected: u16| {
        let head = ("Host", "127.0.0.1");
        let request = request.insert_header(head).insert_header(("X-Auth-Token", "user:project"));
        let request = request.insert_header(("OpenStack-API-Version", "volume 3.71")).to_request();
        let response: ServiceResponse = app.call(request).await.expect("an answer");
        assert_eq!(response.status(), expected);
        actix_web::test::read_body(response).await
    };

    let mut group = criterion.benchmark_group("request");
    let show = format!("/v3/volumes/{}", ids[0]);
    group.bench_function("get", |bencher| {
        bencher.iter(|| system.block_on(ask(TestRequest::get().uri(&show), 200)));
    });
    let action = format!("{show}/action");
    let body = serde_json::json!({"os-extend": {"new_size": 1}});
    group.bench_function("refused", |bencher| {
        bencher.iter(|| system.block_on(ask(TestRequest::post().uri(&action).set_json(&body), 400)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("list");
    group.sample_size(20);
    let query = VolumeQuery {
        project_id: Some(ProjectId::from("project")),
        filters: Vec::new(),
        paging: Paging {
            sort: vec![("created_at".to_owned(), Direction::Descending), ("id".to_owned(), Direction::Descending)],
            marker: None,
            offset: 0,
            limit: ids.len() as u64,
        },
        with_count: false,
        extent: Extent::Detail,
    };
    group.bench_function("store", |bencher| {
        bencher.iter(|| system.block_on(service.store().volume_list(query.clone())).expect("a page"));
    });
    group.bench_function("whole", |bencher| {
        bencher.iter(|| system.block_on(ask(TestRequest::get().uri("/v3/volumes/detail?limit=1000"), 200)));
    });
    group.finish();
    service.stop();
}

criterion_group!(benches, requests);
criterion_main!(benches);
