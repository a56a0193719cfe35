//! Version documents, Compute's volume attachments and servers.

use serde_json::{Value, json};

use super::bench::{Bench, Call, always};

const SAMPLES: &str = "nova/os-volume_attachments";

/// The folders of the samples, with the minor version of each.
const FOLDERS: [(&str, u32); 7] =
    [("", 1), ("/v2.49", 49), ("/v2.70", 70), ("/v2.79", 79), ("/v2.85", 85), ("/v2.89", 89), ("/v2.101", 101)];

#[actix_web::test]
async fn compute() {
    let bench = Bench::start("compute").await;
    for path in ["/", "/v3/", "/compute/", "/compute/v2.1/"] {
        bench.reads(&format!("GET {path}"), path).await;
    }
    let server = bench.harness.server("s").await;
    // a list with a next page
    bench.harness.server("t").await;
    let servers = "/compute/v2.1/servers";
    for list in ["?limit=1", "/detail?limit=1"] {
        bench.reads(&format!("GET {servers}{list}"), &format!("{servers}{list}")).await;
    }
    bench.reads(&format!("GET {servers}/{{id}}"), &format!("{servers}/{server}")).await;

    let of = |members: Value| json!({"volumeAttachment": members});
    let path = format!("{servers}/{server}/os-volume_attachments");
    for (folder, minor) in FOLDERS {
        let asked = async || -> Call {
            let mut members = json!({"volumeId": bench.volume().await});
            match minor {
                ..49 => members["device"] = json!("/dev/vdz"),
                49..79 => members["tag"] = json!("t"),
                _ => {
                    members["tag"] = json!("t");
                    members["delete_on_termination"] = json!(true);
                }
            }
            (path.clone(), of(members))
        };
        bench.accepts(&format!("{SAMPLES}{folder}/attach-volume-to-server-req.json"), asked).await;
    }
    let call = format!("{servers}/{{id}}/os-volume_attachments");
    let asked = async |_: &str| (path.clone(), of(json!({"volumeId": bench.volume().await})));
    bench.answers(&format!("POST {call}"), asked).await;

    let volume = bench.volume().await;
    let members = json!({"volumeId": volume, "tag": "data", "device": "/dev/vdy"});
    let got = bench.harness.post(&path, &of(members)).token(crate::api::harness::ADMIN).compute("2.79").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    bench.harness.until(&volume, "in-use").await;
    let one = format!("{path}/{volume}");
    bench.reads(&format!("GET {call}"), &path).await;
    bench.reads(&format!("GET {call}/{{volume}}"), &one).await;

    let other = bench.volume().await;
    for (folder, minor) in FOLDERS {
        let swap = always(&one, of(json!({"volumeId": other})));
        bench.accepts(&format!("{SAMPLES}{folder}/update-volume-req.json"), swap).await;
        let mut members = json!({"volumeId": volume, "delete_on_termination": true});
        if minor >= 89 {
            let same = json!({"id": volume, "serverId": server, "device": "/dev/vdy", "tag": "data"});
            members.as_object_mut().unwrap().extend(same.as_object().unwrap().clone());
        }
        if minor >= 85 {
            let sample = format!("{SAMPLES}{folder}/update-volume-attachment-delete-flag-req.json");
            bench.accepts(&sample, always(&one, of(members))).await;
        }
    }
    bench.finish().await;
}
