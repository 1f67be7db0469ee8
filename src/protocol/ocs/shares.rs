//! The share API: shares with users (0), groups (1), public links (3) and users of other servers (6), as both families of clients make, list,
//! change and end them (`protocol/owncloud.md` 3.6, `protocol/nextcloud.md` 2.1). Links and shares take their numbers from one row.

use std::sync::Arc;

use http::Method;

use crate::domain::{
    CloudId, Error, GroupName, Link, LinkId, NodeId, Offer, Permissions, ReceivedState, Secret, Share, ShareId, ShareWith, Timestamp,
    TreePath, User, UserName,
};
use crate::limits::SHARE_NOTE_BYTES_MAX;
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::share_rows::{GROUP, LINK, REMOTE, USER};
use crate::service::admin::end_of;
use crate::service::federation::{AskedShare, Made};
use crate::service::link_details::DetailChange;
use crate::service::shares::{NewShare, Received, ShareChange};
use crate::service::sharing::{LinkChange, NewLink};
use crate::tree::Entry;

/// Rights of new links as they are kept (`protocol/owncloud.md` 3.6): the right to share means nothing there. Others that hold reading become
/// reading alone, those that take files and do not show them become a drop folder.
const NEW_LINK_PERMISSIONS: [u8; 5] = [1, 3, 4, 5, 15];
/// Those that a link may be given later: what ownCloud 8 calls upload is among them.
const LINK_PERMISSIONS: [u8; 6] = [1, 3, 4, 5, 7, 15];

/// Answers what stands behind `/shares`.
pub(super) async fn answer(call: &Call, rest: &[&str]) -> Answer {
    let user = Arc::clone(&call.session()?.user);
    match (rest, call.method.as_str()) {
        ([], "GET" | "HEAD") => list(call, &user).await,
        ([], "POST") => create(call, &user).await,
        (["pending"], "GET" | "HEAD") => received(call, &user, Some(ReceivedState::Pending), None).await,
        (["pending", id], "POST") => {
            let received = call.services.shares().accept(&user, ShareId(number(id)?)).await?;
            one_received(call, &user, &received).await
        }
        (["pending", id], "DELETE") => {
            let received = call.services.shares().decline(&user, ShareId(number(id)?)).await?;
            one_received(call, &user, &received).await
        }
        (["pending"], _) => Err(Problem::not_allowed()),
        ([id], _) => one(call, &user, number(id)?).await,
        ([] | ["pending", _], _) => Err(Problem::not_allowed()),
        _ => Err(Problem::unknown()),
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_error| wrong_id())
}

fn wrong_id() -> Problem {
    Problem::new(404, "Wrong share ID, share doesn't exist")
}

/// What a number stands for, as far as the caller may know.
enum Found {
    Link(Arc<Link>),
    /// The caller made it, or owns what is shared.
    Managed(Arc<Share>),
    Received(Received),
    /// The caller asked the server of an offered share for it.
    Asked(Box<(AskedShare, Arc<Offer>)>),
}

fn find(call: &Call, user: &User, id: u64) -> Result<Found, Problem> {
    if let Some(link) = call.services.sharing().get(LinkId(id)).filter(|link| call.services.sharing().may_manage(user, link)) {
        return Ok(Found::Link(link));
    }
    if let Some(found) = call.services.federation().asked(ShareId(id)).filter(|(asked, _)| asked.space == user.space) {
        return Ok(Found::Asked(Box::new(found)));
    }
    let shares = call.services.forest().shares();
    let share = shares.get(ShareId(id)).ok_or_else(wrong_id)?;
    if call.services.shares().may_manage(user, &share) {
        return Ok(Found::Managed(share));
    }
    let end = shares.received(share.id, &user.name).ok_or_else(wrong_id)?;
    Ok(Found::Received((share, end)))
}

async fn one(call: &Call, user: &User, id: u64) -> Answer {
    let found = find(call, user, id)?;
    match call.method {
        // Clients ask for one share and read a list, as PHP answers it.
        Method::GET | Method::HEAD => Ok(Value::list([row(call, user, &found).await?])),
        Method::PUT => update(call, user, found).await,
        Method::DELETE => {
            match found {
                Found::Link(link) => call.services.sharing().remove(link.id).await?,
                Found::Managed(share) => call.services.shares().remove(share.id).await?,
                Found::Received((share, _)) => drop(call.services.shares().decline(user, share.id).await?),
                Found::Asked(found) => call.services.federation().undo_asked(found.0.id).await?,
            }
            Ok(Value::nothing())
        }
        _ => Err(Problem::not_allowed()),
    }
}

async fn row(call: &Call, user: &User, found: &Found) -> Answer {
    match found {
        Found::Link(link) => call.link_row(user, link).await,
        Found::Managed(share) => call.share_row(user, share, None).await,
        Found::Received((share, end)) => call.share_row(user, share, Some(end)).await,
        Found::Asked(found) => call.asked_row(&found.0, &found.1).await,
    }
}

async fn one_received(call: &Call, user: &User, (share, end): &Received) -> Answer {
    Ok(Value::list([call.share_row(user, share, Some(end)).await?]))
}

/// What stands at a path of the caller's tree.
async fn at(call: &Call, user: &User, path: &TreePath) -> Result<Entry, Problem> {
    let missing = || Problem::new(404, "Wrong path, file/folder doesn't exist");
    match call.services.forest().user_view(user, call.via()).map_err(crate::service::Refusal::from)?.stat(path).await {
        Ok(entry) => Ok(entry),
        Err(Error::NotFound | Error::ParentMissing | Error::NotCollection) => Err(missing()),
        Err(error) => Err(crate::service::Refusal::from(error).into()),
    }
}

fn path_parameter(call: &Call) -> Result<Option<TreePath>, Problem> {
    let wrong = |_invalid| Problem::new(404, "Wrong path, file/folder doesn't exist");
    call.parameters.get("path").filter(|path| !path.is_empty()).map(|path| TreePath::parse(path).map_err(wrong)).transpose()
}

fn is_set(call: &Call, name: &str) -> bool {
    matches!(call.parameters.get(name), Some("true" | "1" | "yes"))
}

/// What the caller shares, or receives with `shared_with_me`. The owner of a node is told of all its shares, whoever made them (attack L2).
async fn list(call: &Call, user: &User) -> Answer {
    call.services.shares().sweep_for(user).await?;
    call.services.sharing().sweep_for(user).await?;
    let path = path_parameter(call)?;
    let entry = match &path {
        Some(path) => Some(at(call, user, path).await?),
        None => None,
    };
    if is_set(call, "shared_with_me") {
        let state = match call.parameters.get("state") {
            Some("all") => None,
            Some("1") => Some(ReceivedState::Pending),
            Some("2") => Some(ReceivedState::Declined),
            _ => Some(ReceivedState::Accepted),
        };
        return received(call, user, state, entry.map(|entry| entry.node.id)).await;
    }
    let nodes = match (entry, path) {
        (Some(entry), Some(path)) if is_set(call, "subfiles") => {
            if !entry.node.is_collection() {
                return Err(Problem::bad_request("Not a directory"));
            }
            let view = call.services.forest().user_view(user, call.via()).map_err(crate::service::Refusal::from)?;
            let listing = view.list(&path).await.map_err(crate::service::Refusal::from)?;
            Some(listing.members().map(|member| member.node.id).collect::<Vec<NodeId>>())
        }
        (Some(entry), _) => Some(vec![entry.node.id]),
        (None, _) => None,
    };
    let asked = |node: NodeId| nodes.as_ref().is_none_or(|nodes| nodes.contains(&node));
    let types: Vec<&str> =
        call.parameters.get("share_types").filter(|types| !types.is_empty()).map_or_else(Vec::new, |types| types.split(',').collect());
    let wanted = |share_type: u8| types.is_empty() || types.iter().any(|wanted| wanted.trim() == share_type.to_string());
    let mut rows = Vec::new();
    for share in call.services.shares().list(user).into_iter().filter(|share| asked(share.node) && wanted(type_of(&share.with))) {
        rows.push(call.share_row(user, &share, None).await?);
    }
    for made in call.services.federation().asked_by(user)? {
        let Some((made, offer)) = call.services.federation().asked(made.id) else { continue };
        let root = offer.mount.and_then(|mount| call.services.forest().mounts().get(mount)).map(|handle| handle.root().id);
        if root.map_or(nodes.is_none(), asked) && wanted(REMOTE) {
            rows.push(call.asked_row(&made, &offer).await?);
        }
    }
    for link in call.services.sharing().list(user).into_iter().filter(|link| asked(link.node) && wanted(LINK)) {
        rows.push(call.link_row(user, &link).await?);
    }
    if is_set(call, "include_tags") {
        // Nobody tags anything here.
        let tagged = |row: &mut Value| {
            if let Value::Map(fields) = row {
                fields.push(("tags", Value::nothing()))
            }
        };
        rows.iter_mut().for_each(tagged);
    }
    Ok(Value::List(rows))
}

fn type_of(with: &ShareWith) -> u8 {
    match with {
        ShareWith::User(_) => USER,
        ShareWith::Group(_) => GROUP,
        ShareWith::Remote(_) => REMOTE,
    }
}

async fn received(call: &Call, user: &User, state: Option<ReceivedState>, node: Option<NodeId>) -> Answer {
    let shares = call.services.shares();
    let mut rows = Vec::new();
    for (share, end) in shares.received(user) {
        if node.is_none_or(|node| node == share.node) && state.is_none_or(|state| state == shares.state(&end)) {
            rows.push(call.share_row(user, &share, Some(&end)).await?);
        }
    }
    Ok(Value::List(rows))
}

async fn create(call: &Call, user: &User) -> Answer {
    let path = path_parameter(call)?.ok_or_else(|| Problem::new(404, "Please specify a file or folder path"))?;
    let entry = at(call, user, &path).await?;
    let kind: Option<u8> = call.parameters.get("shareType").and_then(|text| text.parse().ok());
    let expires = expiry(call)?.flatten();
    let with = call.parameters.get("shareWith").unwrap_or_default();
    let with = match kind {
        Some(USER) => {
            let known = UserName::parse(with).ok().filter(|name| call.services.accounts().get(name).is_some());
            ShareWith::User(known.ok_or_else(|| Problem::new(404, "Please specify a valid user"))?)
        }
        Some(GROUP) => {
            let known = GroupName::parse(with).ok().filter(|name| call.services.groups().get(name).is_some());
            ShareWith::Group(known.ok_or_else(|| Problem::new(404, "Please specify a valid group"))?)
        }
        Some(REMOTE) => {
            let address = CloudId::parse(with).map_err(|_invalid| Problem::new(404, "Please specify a valid federated account ID"))?;
            ShareWith::Remote(address)
        }
        Some(LINK) => return create_link(call, user, (path, &entry), expires).await,
        Some(_) | None => return Err(Problem::bad_request("Unknown share type")),
    };
    let permissions = permissions(call)?;
    let note = call.parameters.get("note").unwrap_or_default().to_owned();
    // Rights that a file cannot have are left out, as clients expect who send the same for both.
    let made = call.services.federation().share(user, NewShare { path, with, permissions, expires, note }).await;
    match made.map_err(crate::service::Refusal::from)? {
        Made::Share(share) => call.share_row(user, &share, None).await,
        Made::Asked(asked) => {
            let (asked, offer) = call.services.federation().asked(asked.id).ok_or_else(wrong_id)?;
            call.asked_row(&asked, &offer).await
        }
    }
}

async fn create_link(call: &Call, user: &User, (path, entry): (TreePath, &Entry), expires: Option<Timestamp>) -> Answer {
    usable_note(call)?;
    let new = NewLink {
        permissions: new_link_permissions(call, entry.node.is_collection())?,
        path,
        password: call.parameters.get("password").filter(|password| !password.is_empty()).map(Secret::new),
        expires,
        label: label(call).unwrap_or_default(),
    };
    let link = call.services.sharing().create(user, new).await?;
    set_note(call, link.id).await?;
    call.link_row(user, &link).await
}

async fn update(call: &Call, user: &User, found: Found) -> Answer {
    let known = ["permissions", "publicUpload", "password", "expireDate", "note", "label", "name"];
    let known = known.into_iter().chain(["hideDownload", "attributes", "sendPasswordByTalk"]).collect::<Vec<_>>();
    if known.iter().all(|name| call.parameters.get(name).is_none()) {
        return Err(Problem::bad_request("Wrong or no update parameter given"));
    }
    hides_nothing(call)?;
    match found {
        Found::Link(link) => {
            let password = call.parameters.get("password").map(|text| (!text.is_empty()).then(|| Secret::new(text)));
            let permissions = link_permissions(call, &link)?;
            let change = LinkChange { permissions, password, expires: expiry(call)?, label: label(call) };
            set_note(call, link.id).await?;
            call.link_row(user, &*call.services.sharing().update(link.id, change).await?).await
        }
        Found::Managed(share) => {
            let note = call.parameters.get("note").map(str::to_owned);
            let change = ShareChange { permissions: permissions(call)?, expires: expiry(call)?, note };
            let changed = call.services.federation().update(share.id, change).await?;
            call.share_row(user, &changed, None).await
        }
        Found::Received(_) => Err(Problem::forbidden("Only who shared this may change it")),
        Found::Asked(_) => Err(Problem::forbidden("The owner's server made this share: end it, and share again")),
    }
}

/// Refuses a note that cannot be kept, before anything is made.
fn usable_note(call: &Call) -> Result<(), Problem> {
    let length = call.parameters.get("note").map_or(0, str::len);
    if length > SHARE_NOTE_BYTES_MAX {
        Err(Problem::bad_request(format!("A note has {SHARE_NOTE_BYTES_MAX} bytes at most")))
    } else {
        Ok(())
    }
}

/// What the owner says to visitors, where the request says it.
async fn set_note(call: &Call, link: LinkId) -> Result<(), Problem> {
    let Some(note) = call.parameters.get("note") else { return Ok(()) };
    let change = DetailChange { note: Some(note.to_owned()), ..DetailChange::default() };
    Ok(call.services.sharing().details().change(link, change).await.map(drop)?)
}

/// What a link is called: ownCloud's `name`, Nextcloud's `label`.
fn label(call: &Call) -> Option<String> {
    call.parameters.get("name").or_else(|| call.parameters.get("label")).map(str::to_owned)
}

fn permissions(call: &Call) -> Result<Option<Permissions>, Problem> {
    let Some(text) = call.parameters.get("permissions").filter(|text| !text.is_empty()) else { return Ok(None) };
    let bits: u8 = text.parse().ok().filter(|bits| *bits <= Permissions::ALL.0).ok_or_else(|| Problem::new(404, "Invalid permissions"))?;
    Ok(Some(Permissions(bits)))
}

/// The rights of a new link. What no link can have becomes less, as ownCloud does it, and never shows what was not to be shown (attack F2).
fn new_link_permissions(call: &Call, collection: bool) -> Result<Permissions, Problem> {
    let upload = public_upload(call, collection)?;
    let Some(asked) = permissions(call)? else { return Ok(upload.unwrap_or(Permissions::READ)) };
    // `publicUpload=true` wins over the bits, as with both families (`protocol/owncloud.md` 3.6).
    if upload == Some(Permissions::EDIT) {
        return Ok(Permissions::EDIT);
    }
    let asked = if upload.is_some() { shows_only(asked)? } else { Permissions(asked.0 & !Permissions::SHARE.0) };
    let kept = match (asked.contains(Permissions::READ), asked.contains(Permissions::CREATE)) {
        (true, _) if NEW_LINK_PERMISSIONS.contains(&asked.0) => asked,
        (true, _) => Permissions::READ,
        (false, true) => Permissions::CREATE,
        (false, false) => return Err(Problem::bad_request("A link shows something or takes files: permissions are 1, 3, 4, 5 or 15")),
    };
    drops_into(kept, collection)
}

/// What `publicUpload=false` leaves of rights: it takes away what changes something.
fn shows_only(permissions: Permissions) -> Result<Permissions, Problem> {
    if permissions.contains(Permissions::READ) {
        return Ok(Permissions::READ);
    }
    Err(Problem::bad_request(
        "Without public upload nothing is left of a link that only takes files: say permissions=1 for one that shows them",
    ))
}

/// Refuses a drop folder that is a file.
fn drops_into(permissions: Permissions, collection: bool) -> Result<Permissions, Problem> {
    if permissions == Permissions::CREATE && !collection {
        return Err(Problem::new(404, "Public upload is only possible for publicly shared folders"));
    }
    Ok(permissions)
}

/// What the older word for rights means.
fn public_upload(call: &Call, collection: bool) -> Result<Option<Permissions>, Problem> {
    match call.parameters.get("publicUpload") {
        Some("true" | "1") if !collection => Err(Problem::new(404, "Public upload is only possible for publicly shared folders")),
        Some("true" | "1") => Ok(Some(Permissions::EDIT)),
        Some("false" | "0") => Ok(Some(Permissions::READ)),
        Some(_) | None => Ok(None),
    }
}

/// Other rights of a link: bits that mean nothing for one are an error here, as with both families.
fn link_permissions(call: &Call, link: &Link) -> Result<Option<Permissions>, Problem> {
    let collection = link.kind != crate::domain::Kind::File;
    let upload = public_upload(call, collection)?;
    let asked = permissions(call)?;
    if let Some(asked) = asked
        && !LINK_PERMISSIONS.contains(&(asked.0 & !Permissions::SHARE.0))
    {
        return Err(Problem::bad_request("Can't change permissions for public share links"));
    }
    let asked = asked.map(|asked| Permissions(asked.0 & !Permissions::SHARE.0));
    match (upload, asked) {
        // It wins over the bits, as with both families (`protocol/owncloud.md` 3.6).
        (Some(Permissions::EDIT), _) => Ok(upload),
        (Some(_), asked) => shows_only(asked.unwrap_or(link.permissions)).map(Some),
        (None, Some(asked)) => drops_into(asked, collection).map(Some),
        (None, None) => Ok(None),
    }
}

/// Refuses what would hide or forbid downloads: a page can hide a button, not the file that it shows (attack L2).
fn hides_nothing(call: &Call) -> Result<(), Problem> {
    let attributes: Vec<serde_json::Value> =
        call.parameters.get("attributes").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let forbids = |attribute: &serde_json::Value| {
        let off = |name: &str| match attribute.get(name) {
            Some(serde_json::Value::Bool(on)) => !on,
            Some(serde_json::Value::Number(number)) => number.as_i64() == Some(0),
            Some(serde_json::Value::String(text)) => matches!(text.as_str(), "false" | "0" | ""),
            Some(_) | None => false,
        };
        attribute.get("key").and_then(serde_json::Value::as_str) == Some("download") && (off("value") || off("enabled"))
    };
    if is_set(call, "hideDownload") || attributes.iter().any(forbids) {
        return Err(Problem::bad_request("Downloads cannot be hidden or forbidden here: who sees a file can keep it"));
    }
    Ok(())
}

/// The last day: none where it was not sent, an inner none where it is taken off.
fn expiry(call: &Call) -> Result<Option<Option<Timestamp>>, Problem> {
    let Some(text) = call.parameters.get("expireDate") else { return Ok(None) };
    if text.is_empty() {
        return Ok(Some(None));
    }
    // Pages send the whole time in ISO 8601.
    let day = text.split(['T', ' ']).next().unwrap_or_default();
    let end = end_of(day).map_err(|_refusal| Problem::new(404, "Invalid date, format must be YYYY-MM-DD"))?;
    if end <= call.services.clock().now() {
        return Err(Problem::new(404, "Expiration date is in the past"));
    }
    Ok(Some(Some(end)))
}
