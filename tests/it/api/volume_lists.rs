//! Lists of volumes, one line for each rule (volumes §5).

use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Harness, MEMBER, STRANGER};

/// Who, at which version, asks with which query; the names in the order of the answer, or the fault.
type Line<'a> = (&'a str, &'a str, &'a str, Result<&'a str, (u16, &'a str)>);

/// Five volumes of project p, in this order, and one of q.
async fn volumes(harness: &Harness) {
    for (token, members) in [
        (MEMBER, json!({"name": "alpha", "size": 1, "metadata": {"k1": "v1", "k2": "v2"}})),
        (MEMBER, json!({"name": "Beta", "size": 2, "description": "of many words"})),
        (MEMBER, json!({"name": "gamma", "size": 3, "metadata": {"k1": "v1"}})),
        (MEMBER, json!({"name": "5", "size": 5})),
        (MEMBER, json!({"size": 4})),
        (STRANGER, json!({"name": "foreign", "size": 1})),
    ] {
        let id = harness.volume(token, members.clone()).await;
        let act = async |body: Value| {
            let got = harness.post(&format!("/v3/volumes/{id}/action"), &body).token(ADMIN).send().await;
            assert!(got.status < 300, "{}", got.text);
        };
        match members["name"].as_str() {
            Some("Beta") => act(json!({"os-set_bootable": {"bootable": true}})).await,
            Some("gamma") => {
                act(json!({"os-update_readonly_flag": {"readonly": true}})).await;
                act(json!({"os-reset_status": {"status": "error", "migration_status": "starting"}})).await;
            }
            _ => {}
        }
    }
}

async fn answer(harness: &Harness, token: &str, version: &str, query: &str) -> Result<String, (u16, String)> {
    let got = harness.ask("GET", &format!("/v3/volumes?{query}")).token(token).volume(version).send().await;
    if got.status != 200 {
        return Err(got.fault());
    }
    let body = got.json();
    let rows = body["volumes"].as_array().unwrap();
    let mut names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap_or("-")).collect();
    if !query.contains("sort") {
        names.sort_unstable();
    }
    Ok(names.join(" "))
}

async fn check(harness: &Harness, lines: &[Line<'_>]) {
    let mut wrong = String::new();
    for (token, version, query, expected) in lines {
        let found = answer(harness, token, version, query).await;
        let expected = (*expected).map(str::to_owned).map_err(|(status, text)| (status, text.to_owned()));
        if found != expected {
            wrong += &format!("{token} {version} ?{query}: {found:?}, and not {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const OWN: &str = "- 5 Beta alpha gamma";
const ALL: &str = "- 5 Beta alpha foreign gamma";
const NO_BOOLEAN: &str = "Invalid input received: Value 'maybe' for 'all_tenants' is not a boolean.";

#[actix_web::test]
async fn pages_and_orders() {
    let harness = Harness::start().await;
    volumes(&harness).await;
    let bad_key = Err((400, "Invalid input received: Invalid sort key"));
    let bad_direction = Err((400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."));
    let lines = [
        (MEMBER, "3.0", "", Ok(OWN)),
        (MEMBER, "3.0", "limit=0", Ok("")),
        (MEMBER, "3.0", "limit=5000", Ok(OWN)),
        (MEMBER, "3.0", "sort=size:asc&limit=2", Ok("alpha Beta")),
        (MEMBER, "3.0", "sort=size:asc&limit=2&offset=1", Ok("Beta gamma")),
        (MEMBER, "3.0", "sort=size&offset=2147483647", Ok("")),
        (MEMBER, "3.0", "sort=size", Ok("5 - gamma Beta alpha")),
        (MEMBER, "3.0", "sort=name:asc", Ok("- 5 Beta alpha gamma")),
        (MEMBER, "3.0", "sort=display_name:desc", Ok("gamma alpha Beta 5 -")),
        (MEMBER, "3.0", "sort=bootable:desc,status:asc,size:asc", Ok("Beta alpha - 5 gamma")),
        (MEMBER, "3.0", "sort_key=created_at&sort_dir=asc", Ok("alpha Beta gamma 5 -")),
        (MEMBER, "3.0", "sort_key=size", Ok("5 - gamma Beta alpha")),
        (MEMBER, "3.0", "sort_dir=asc", Ok("alpha Beta gamma 5 -")),
        // equal keys: the newest first, and the other way round
        (MEMBER, "3.0", "sort=availability_zone", Ok("- 5 gamma Beta alpha")),
        (MEMBER, "3.0", "sort=availability_zone:asc", Ok("alpha Beta gamma 5 -")),
        (MEMBER, "3.0", "sort=host:asc,size", Ok("5 - gamma Beta alpha")),
        (MEMBER, "3.0", "sort=snapshot_id:asc", Ok("alpha Beta gamma 5 -")),
        (MEMBER, "3.0", "sort=volume_type_id,project_id,user_id,size:asc", Ok("alpha Beta gamma - 5")),
        (MEMBER, "3.0", "sort=colour", bad_key),
        (MEMBER, "3.0", "sort=", bad_key),
        (MEMBER, "3.0", "sort_key=", bad_key),
        (MEMBER, "3.0", "sort=size:up", bad_direction),
        (MEMBER, "3.0", "sort_key=size&sort_dir=up", bad_direction),
        (MEMBER, "3.0", "all_tenants=1", Ok(OWN)),
        (MEMBER, "3.71", "all_tenants=maybe", Ok(OWN)),
        (ADMIN, "3.0", "", Ok(OWN)),
        (ADMIN, "3.0", "all_tenants=True", Ok(ALL)),
        (ADMIN, "3.0", "all_tenants=0", Ok(OWN)),
        (ADMIN, "3.0", "all_tenants=maybe", Err((400, NO_BOOLEAN))),
        (
            ADMIN,
            "3.0",
            "all_tenants=",
            Err((400, "Invalid input received: Value '' for 'all_tenants' is not a boolean.")),
        ),
        (MEMBER, "3.45", "with_count=false", Ok(OWN)),
        (MEMBER, "3.45", "with_count=", Err((400, "Value '' for 'with_count' is not a boolean."))),
        (MEMBER, "3.44", "with_count=1", Err((400, "Invalid filters with_count are found in query options."))),
        (MEMBER, "3.30", "with_count=1", Ok(OWN)),
        (ADMIN, "3.44", "with_count=1", Ok("")),
    ];
    check(&harness, &lines).await;
    let deprecated = answer(&harness, MEMBER, "3.0", "sort=size&sort_key=size").await;
    assert_eq!(deprecated.map_err(|(status, _)| status), Err(400));

    // The count is of all that match; the links of the last page are the same with it and without.
    let page = async |query: &str| {
        let got = harness.ask("GET", &format!("/v3/volumes/detail?{query}")).token(MEMBER).volume("3.45").send().await;
        let body = got.json();
        let rows = body["volumes"].as_array().unwrap().len();
        (rows, body.get("count").cloned(), body.get("volumes_links").is_some())
    };
    assert_eq!(page("limit=2&with_count=1").await, (2, Some(json!(5)), true));
    assert_eq!(page("limit=2&with_count=yes&status=error").await, (1, Some(json!(1)), false));
    assert_eq!(page("limit=0&with_count=true").await, (0, Some(json!(5)), false));
    assert_eq!(page("limit=5").await, (5, None, true));
    assert_eq!(page("limit=6&with_count=1").await, (5, Some(json!(5)), false));
    harness.stop().await;
}

#[actix_web::test]
async fn filters_by_caller_and_version() {
    let harness = Harness::start().await;
    volumes(&harness).await;
    let refused = |text: &'static str| Err((400, text));
    let lines = [
        // names that everybody may use
        (MEMBER, "3.71", "name=alpha", Ok("alpha")),
        (MEMBER, "3.71", "name=Alpha", Ok("")),
        (MEMBER, "3.71", "name=5", Ok("5")),
        (MEMBER, "3.71", "name='alpha'", Ok("")),
        (MEMBER, "3.71", "status=error", Ok("gamma")),
        (MEMBER, "3.71", "status='error'", Ok("gamma")),
        (MEMBER, "3.71", "status=ERROR", Ok("")),
        (MEMBER, "3.71", "status=['error','available']", Ok(OWN)),
        (MEMBER, "3.71", "status=['error','creating']", Ok("gamma")),
        (MEMBER, "3.71", "size=2", Ok("Beta")),
        (MEMBER, "3.71", "size=[1,2]", Ok("Beta alpha")),
        (MEMBER, "3.71", "size='two'", Ok("")),
        (MEMBER, "3.71", "size=1&name=Beta", Ok("")),
        (MEMBER, "3.71", "availability_zone=nova", Ok(OWN)),
        (MEMBER, "3.71", "migration_status=starting", Ok("gamma")),
        (MEMBER, "3.71", "migration_status=None", Ok("- 5 Beta alpha")),
        (MEMBER, "3.71", "group_id=None", Ok(OWN)),
        (MEMBER, "3.71", "group_id=x", Ok("")),
        (MEMBER, "3.9", "group_id=x", Ok(OWN)),
        (MEMBER, "3.10", "group_id=x", Ok("")),
        (MEMBER, "3.71", "metadata={'k1':'v1'}", Ok("alpha gamma")),
        (MEMBER, "3.71", "metadata={'k1':'v1','k2':'v2'}", Ok("alpha")),
        (MEMBER, "3.71", "metadata={'k1':'v2'}", Ok("")),
        (MEMBER, "3.71", "metadata={'readonly':'True','k1':'v1'}", Ok("gamma")),
        (MEMBER, "3.71", "metadata=k1", Ok("")),
        (MEMBER, "3.71", "metadata={}", Ok(OWN)),
        // booleans: any word but three is true below 3.2, and must be one from there on
        (MEMBER, "3.1", "bootable=maybe", Ok("Beta")),
        (MEMBER, "3.1", "bootable=FALSE", Ok("- 5 alpha gamma")),
        (MEMBER, "3.1", "bootable=f", Ok("Beta")),
        (MEMBER, "3.2", "bootable=f", Ok("- 5 alpha gamma")),
        (MEMBER, "3.2", "bootable=yes", Ok("Beta")),
        (MEMBER, "3.2", "bootable=maybe", refused("Invalid input received: bootable=maybe")),
        (MEMBER, "3.2", "bootable=", refused("Invalid input received: bootable=")),
        (MEMBER, "3.30", "consumes_quota=true", Ok("")),
        (MEMBER, "3.31", "consumes_quota=true", Ok(OWN)),
        (MEMBER, "3.31", "consumes_quota=0", Ok("")),
        // what a user may not use: dropped, and refused from 3.31 on
        (MEMBER, "3.30", "host=x&nonsense=1", Ok(OWN)),
        (MEMBER, "3.31", "host=x&nonsense=1", refused("Invalid filters host,nonsense are found in query options.")),
        (MEMBER, "3.31", "nonsense=1&all_tenants=1", refused("Invalid filters nonsense are found in query options.")),
        (MEMBER, "3.33", "name~=alp", refused("Invalid filters name~ are found in query options.")),
        (MEMBER, "3.71", "name~=alp", refused("Invalid filters name~ are found in query options.")),
        (MEMBER, "3.30", "name~=alp", Ok(OWN)),
        (MEMBER, "3.30", "%C3%A9=1", Ok(OWN)),
        (MEMBER, "3.31", "%C3%A9=1", refused("Filter keys can only contain ASCII characters.")),
        (ADMIN, "3.31", "%C3%A9=1", refused("Filter keys can only contain ASCII characters.")),
        // an admin: every column, what is none matches nothing
        (ADMIN, "3.0", "nonsense=1", Ok("")),
        (ADMIN, "3.71", "nonsense=1", Ok("")),
        (ADMIN, "3.71", "encrypted=False", Ok("")),
        (ADMIN, "3.30", "nonsense~=1", Ok(OWN)),
        (ADMIN, "3.31", "nonsense~=1", Ok("")),
        (ADMIN, "3.30", "name~=a", Ok(OWN)),
        (ADMIN, "3.31", "name~=A", Ok("Beta alpha gamma")),
        (ADMIN, "3.31", "name~=g_mm", Ok("gamma")),
        (ADMIN, "3.31", "name~=b%25a", Ok("Beta")),
        (ADMIN, "3.31", "description~=MANY", Ok("Beta")),
        (ADMIN, "3.31", "status~=err", Ok("gamma")),
        (ADMIN, "3.0", "multiattach=False", Ok(OWN)),
        (ADMIN, "3.0", "attach_status=detached&all_tenants=1", Ok(ALL)),
        (ADMIN, "3.0", "project_id=q&all_tenants=1", Ok("foreign")),
        (ADMIN, "3.0", "user_id=sam&all_tenants=1", Ok("foreign")),
        (ADMIN, "3.0", "user_id=sam", Ok("")),
        (ADMIN, "3.0", "snapshot_id=None", Ok(OWN)),
        (ADMIN, "3.0", "source_volid=x", Ok("")),
        (ADMIN, "3.0", "replication_status=None", Ok(OWN)),
        (ADMIN, "3.0", "encryption_key_id=None&cluster_name=None", Ok(OWN)),
        (ADMIN, "3.0", "host=sim", Ok(OWN)),
        (ADMIN, "3.0", "host=sim@sim", Ok(OWN)),
        (ADMIN, "3.0", "host=sim@si", Ok("")),
        (ADMIN, "3.0", "host=sim%25", Ok("")),
    ];
    check(&harness, &lines).await;
    let whole = format!("host={}", BACKEND.replace('#', "%23"));
    assert_eq!(answer(&harness, ADMIN, "3.0", &whole).await.as_deref(), Ok(OWN));
    let names = harness.ask("GET", "/v3/volumes/detail").token(MEMBER).send().await.json();
    let type_id =
        harness.get("/v3/types/default").send().await.json()["volume_type"]["id"].as_str().unwrap().to_owned();
    let by_type = format!("volume_type_id={type_id}&size=2");
    assert_eq!(answer(&harness, ADMIN, "3.0", &by_type).await.as_deref(), Ok("Beta"));
    let shown = |name: &str, member: &str| {
        let row = names["volumes"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        row[member].as_str().unwrap().to_owned()
    };
    assert_eq!(answer(&harness, ADMIN, "3.0", &format!("id={}", shown("5", "id"))).await.as_deref(), Ok("5"));

    // times: from 3.31 on, every term must hold
    let (beta, five) = (shown("Beta", "created_at"), shown("5", "created_at"));
    let updated = shown("Beta", "updated_at");
    for (version, query, expected) in [
        ("3.60", format!("created_at=gte:{beta},lt:{five}"), Ok("Beta gamma")),
        ("3.60", format!("created_at=gt:{beta}"), Ok("- 5 gamma")),
        ("3.60", format!("created_at=lte:{beta}"), Ok("Beta alpha")),
        ("3.31", format!("created_at=eq:{beta}"), Ok("Beta")),
        ("3.31", format!("created_at=neq:{beta}"), Ok("- 5 alpha gamma")),
        ("3.30", format!("created_at=eq:{beta}"), Ok(OWN)),
        ("3.60", format!("updated_at=eq:{updated}"), Ok("Beta")),
        ("3.60", format!("created_at={beta}"), Err(400)),
        ("3.60", "created_at=since:2020-01-01".to_owned(), Err(400)),
        ("3.60", "created_at=gt:never".to_owned(), Err(400)),
        ("3.60", "created_at=gt".to_owned(), Err(400)),
    ] {
        let found = answer(&harness, MEMBER, version, &query).await.map_err(|(status, _)| status);
        assert_eq!(found.as_deref().map_err(|status| *status), expected, "{version} {query}");
    }
    harness.stop().await;
}
