//! `/os-quota-sets`, `/os-quota-class-sets` and `/limits` (quotas-limits).

use serde_json::{Map, Value, json};

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema::{self, formats};
use crate::api::type_cache::Types;
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::quota::{DEFAULT_CLASS, Limits, QuotaKey, QuotaOwner, Resource, StoredLimit, Usage};
use crate::rule;

/// The largest limit.
const LIMIT_MAX: i64 = 2_147_483_647;

/// Every limit that there is, by its name.
fn keys(types: &Types) -> impl Iterator<Item = (String, QuotaKey)> {
    let plain = Resource::ALL
        .into_iter()
        .map(|resource| (resource.as_str().to_owned(), QuotaKey { resource, volume_type_id: None }));
    let of_types = types.all().iter().flat_map(|volume_type| {
        Resource::OF_TYPES.into_iter().map(|resource| {
            let key = QuotaKey { resource, volume_type_id: Some(volume_type.id) };
            (resource.of_type(&volume_type.name), key)
        })
    });
    plain.chain(of_types)
}

/// The limits of an owner as they are.
struct Set<'a> {
    defaults: &'a Limits,
    stored: Vec<StoredLimit>,
    owner: QuotaOwner,
}

impl<'a> Set<'a> {
    async fn read(call: &'a Call, owner: QuotaOwner) -> Result<Self, Problem> {
        let owners = vec![owner.clone(), QuotaOwner::Class(DEFAULT_CLASS.to_owned())];
        let stored = call.service().store().quota_limits(owners).await?;
        Ok(Self { defaults: call.service().default_limits(), stored, owner })
    }

    fn limit(&self, key: QuotaKey) -> i64 {
        self.defaults.effective(&self.stored, &self.owner, key)
    }

    fn shown(&self, types: &Types) -> Map<String, Value> {
        keys(types).map(|(name, key)| (name, json!(self.limit(key)))).collect()
    }
}

/// What a project uses, of all types together and of each.
struct Usages(Vec<(Option<VolumeTypeId>, Usage)>);

impl Usages {
    async fn read(call: &Call, project: &ProjectId) -> Result<Self, Problem> {
        Ok(Self(call.service().store().usages(project.clone()).await?))
    }

    fn of(&self, volume_type_id: Option<VolumeTypeId>) -> Usage {
        self.0.iter().find(|(id, _)| *id == volume_type_id).map(|(_, usage)| *usage).unwrap_or_default()
    }
}

fn named(text: &str) -> Result<&str, Problem> {
    if text.chars().count() <= formats::TEXT_MAX && formats::is_stored(text) {
        Ok(text)
    } else {
        Err(Problem::BadRequest(format!("'{text}' has more than {} characters.", formats::TEXT_MAX)))
    }
}

/// `GET /os-quota-sets/{project}`
pub async fn set_show(call: &Call, project: &str) -> Result<Answer, Problem> {
    let project = ProjectId::from(named(project)?);
    let with_usage = call.query.boolean("usage")?.unwrap_or(false);
    call.enforce(rule!("volume_extension:quotas:show"), &project)?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let set = Set::read(call, QuotaOwner::Project(project.clone())).await?;
    let mut members = set.shown(&types);
    if with_usage {
        let usages = Usages::read(call, &project).await?;
        for (name, key) in keys(&types) {
            let usage = usages.of(key.volume_type_id);
            members[&name] = json!({
                "limit": members[&name],
                "in_use": usage.in_use(key.resource, set.defaults),
                "reserved": usage.reserved(key.resource),
            });
        }
    }
    members.insert("id".to_owned(), json!(project));
    Ok(Answer::ok(json!({"quota_set": members})))
}

/// `GET /os-quota-sets/{project}/defaults`
pub async fn set_defaults(call: &Call, project: &str) -> Result<Answer, Problem> {
    let project = ProjectId::from(named(project)?);
    call.enforce(rule!("volume_extension:quotas:show"), &project)?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let mut members = Set::read(call, QuotaOwner::Class(DEFAULT_CLASS.to_owned())).await?.shown(&types);
    members.insert("id".to_owned(), json!(project));
    Ok(Answer::ok(json!({"quota_set": members})))
}

/// `PUT /os-quota-sets/{project}`
pub async fn set_update(call: &Call, project: &str) -> Result<Answer, Problem> {
    schema::QUOTA_SET_UPDATE.check(call.version, &call.body)?;
    let project = ProjectId::from(named(project)?);
    call.enforce(rule!("volume_extension:quotas:update"), &project)?;
    let types = call.api.types.fresh(call.service().store().as_ref()).await?;
    let bad = |names| Problem::InvalidInput(format!("Bad key(s) in quota set: {names}"));
    let wanted = wanted(&call.body["quota_set"], &types, &["tenant_id", "id"], bad)?;
    let usages = Usages::read(call, &project).await?;
    for (name, key, limit) in &wanted {
        let usage = usages.of(key.volume_type_id);
        let used = usage.in_use(key.resource, call.service().default_limits()) + usage.reserved(key.resource);
        if *limit >= 0 && used > *limit {
            return Err(Problem::BadRequest(format!(
                "Quota {name} limit must be equal or greater than existing resources. Current usage is {used} and \
                 the requested limit is {limit}."
            )));
        }
    }
    let owner = QuotaOwner::Project(project);
    write(call, owner.clone(), wanted).await?;
    Ok(Answer::ok(json!({"quota_set": Set::read(call, owner).await?.shown(&types)})))
}

/// `DELETE /os-quota-sets/{project}`
pub async fn set_delete(call: &Call, project: &str) -> Result<Answer, Problem> {
    let project = ProjectId::from(named(project)?);
    call.enforce(rule!("volume_extension:quotas:delete"), &project)?;
    call.service().store().limits_clear(QuotaOwner::Project(project)).await?;
    Ok(Answer::empty(200))
}

/// `GET /os-quota-class-sets/{class}`
pub async fn class_show(call: &Call, class: &str) -> Result<Answer, Problem> {
    let class = named(class)?;
    call.enforce_own(rule!("volume_extension:quota_classes:get"))?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let mut members = Set::read(call, QuotaOwner::Class(class.to_owned())).await?.shown(&types);
    members.insert("id".to_owned(), json!(class));
    Ok(Answer::ok(json!({"quota_class_set": members})))
}

/// `PUT /os-quota-class-sets/{class}`
pub async fn class_update(call: &Call, class: &str) -> Result<Answer, Problem> {
    schema::QUOTA_CLASS_SET_UPDATE.check(call.version, &call.body)?;
    let class = named(class)?;
    call.enforce_own(rule!("volume_extension:quota_classes:update"))?;
    let types = call.api.types.fresh(call.service().store().as_ref()).await?;
    let bad = |names| Problem::BadRequest(format!("Bad key(s) in quota class set: {names}"));
    let wanted = wanted(&call.body["quota_class_set"], &types, &[], bad)?;
    let owner = QuotaOwner::Class(class.to_owned());
    write(call, owner.clone(), wanted).await?;
    Ok(Answer::ok(json!({"quota_class_set": Set::read(call, owner).await?.shown(&types)})))
}

/// The limits that a body sets, by their names; `bad` says which names mean nothing.
fn wanted(
    members: &Value,
    types: &Types,
    ignored: &[&str],
    bad: impl Fn(String) -> Problem,
) -> Result<Vec<(String, QuotaKey, i64)>, Problem> {
    let members: Vec<(&String, &Value)> =
        members.as_object().into_iter().flatten().filter(|(name, _)| !ignored.contains(&name.as_str())).collect();
    let known: Vec<(String, QuotaKey)> = keys(types).collect();
    let key_of = |name: &String| known.iter().find(|(own, _)| own == name).map(|(_, key)| *key);
    let unknown: Vec<&str> =
        members.iter().filter(|(name, _)| key_of(name).is_none()).map(|(name, _)| name.as_str()).collect();
    if !unknown.is_empty() {
        return Err(bad(unknown.join(", ")));
    }
    let read = members.into_iter().filter_map(|(name, value)| {
        let key = key_of(name)?;
        Some(limit_of(name, value).map(|limit| (name.clone(), key, limit)))
    });
    read.collect()
}

fn limit_of(name: &str, value: &Value) -> Result<i64, Problem> {
    let bad = |what: String| Problem::BadRequest(format!("{name} must be {what}"));
    let digits = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(bad("an integer".to_owned())),
    };
    let is_whole = digits.strip_prefix('-').unwrap_or(&digits).bytes().all(|byte| byte.is_ascii_digit());
    if !is_whole || digits.trim_start_matches('-').is_empty() {
        return Err(bad("an integer".to_owned()));
    }
    // what does not fit is as good as the nearest that does
    let limit = digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN } else { i64::MAX });
    match limit {
        limit if limit < -1 => Err(bad(">= -1".to_owned())),
        limit if limit > LIMIT_MAX => Err(bad(format!("<= {LIMIT_MAX}"))),
        limit => Ok(limit),
    }
}

async fn write(call: &Call, owner: QuotaOwner, limits: Vec<(String, QuotaKey, i64)>) -> Result<(), Problem> {
    if limits.is_empty() {
        return Ok(());
    }
    let limits = limits.into_iter().map(|(_, key, limit)| (key, limit)).collect();
    Ok(call.service().store().limits_set(owner, limits).await?)
}

/// `GET /limits`. Every token may ask.
pub async fn limits_show(call: &Call) -> Result<Answer, Problem> {
    let asked = call.query.get("project_id").or_else(|| call.query.get("tenant_id"));
    let project = match asked.filter(|_| call.context.is_admin && call.since(39)) {
        Some(project) => ProjectId::from(named(project)?),
        None => call.context.project_id.clone(),
    };
    let set = Set::read(call, QuotaOwner::Project(project.clone())).await?;
    let mut absolute = Map::new();
    for (resource, maximum, _) in ABSOLUTE {
        absolute.insert(maximum.to_owned(), json!(set.limit(QuotaKey { resource, volume_type_id: None })));
    }
    if call.allows_own(rule!("limits_extension:used_limits")) {
        let usage = Usages::read(call, &project).await?.of(None);
        for (resource, _, used) in ABSOLUTE {
            absolute.insert(used.to_owned(), json!(usage.in_use(resource, set.defaults)));
        }
    }
    Ok(Answer::ok(json!({"limits": {"rate": [], "absolute": absolute}})))
}

/// What `/limits` calls them: the limit, and what is used.
const ABSOLUTE: [(Resource, &str, &str); 5] = [
    (Resource::Volumes, "maxTotalVolumes", "totalVolumesUsed"),
    (Resource::Snapshots, "maxTotalSnapshots", "totalSnapshotsUsed"),
    (Resource::Gigabytes, "maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    (Resource::Backups, "maxTotalBackups", "totalBackupsUsed"),
    (Resource::BackupGigabytes, "maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
];
