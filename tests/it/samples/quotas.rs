//! Quotas and limits.

use serde_json::json;

use super::bench::{Bench, always};

#[actix_web::test]
async fn quotas() {
    let bench = Bench::start("quotas").await;
    // the sample of the classes gives limits to a type of this name
    bench.made(("/v3/types".to_owned(), json!({"volume_type": {"name": "lmv"}})), "/volume_type/id").await;
    let set = "/v3/os-quota-sets/p";
    bench.reads("GET /v3/os-quota-sets/{project}", set).await;
    bench.reads("GET /v3/os-quota-sets/{project}?usage=true", &format!("{set}?usage=true")).await;
    bench.reads("GET /v3/os-quota-sets/{project}/defaults", &format!("{set}/defaults")).await;
    let body = json!({"quota_set": {"volumes": 5, "backups": 5, "groups": 5}});
    bench.exchanges("cinder/quota_sets/quotas-update-request.json", always(set, body)).await;

    let of_user = format!("{set}?user_id=u");
    bench.reads("GET /v3/os-quota-sets/{project}?user_id=u", &of_user).await;
    let body = json!({"quota_set": {"instances": 5, "force": true}});
    bench.exchanges("cinder/user-quotas-update-request.json", always(&of_user, body)).await;

    let class = "/v3/os-quota-class-sets/default";
    bench.reads("GET /v3/os-quota-class-sets/{class}", class).await;
    let body = json!({"quota_class_set": {"volumes": 5, "snapshots": 5, "gigabytes": 5}});
    bench.exchanges("cinder/quota_classes/quota-classes-update-request.json", always(class, body)).await;
    let body = json!({"quota_class_set": {"volumes_lmv": 5, "snapshots_lmv": 5, "gigabytes_lmv": 5}});
    bench.exchanges("cinder/quota-classes-update-request.json", always(class, body)).await;
    bench.reads("GET /v3/limits", "/v3/limits").await;
    bench.finish().await;
}
