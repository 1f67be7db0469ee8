//! The trash over WebDAV. ownCloud names entries by their number at the top; Nextcloud has them in `trash`, as `NAME.d<time>`, and brings them
//! back by a MOVE to `restore`.

use http::Response;

use crate::domain::{Error, Node, NodeId, Principal, PropertyName, Timestamp, TreePath};
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::dav::kept::{Goal, Item, KeptCall, Tree, done, folder, number, property};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::properties::{NEXTCLOUD, OWNCLOUD};
use crate::protocol::dav::request::Depth;
use crate::protocol::dav::{node_headers, read};
use crate::tree::{TrashRow, View};
use crate::wire::{Body, date};

/// What a URL of the trash means.
enum Place {
    /// Nextcloud's root, which holds `trash` and `restore`.
    Top,
    /// What holds the entries.
    Trash,
    /// Where Nextcloud's clients move what is to come back.
    Restore,
    /// An entry, or what is below one.
    Entry(NodeId, TreePath),
}

/// Answers one request.
pub(super) async fn answer(kept: &mut KeptCall<'_>) -> Result<Response<Body>> {
    let place = locate(kept).await?;
    match (kept.call.method.as_str(), place) {
        ("PROPFIND", place) => propfind(kept, place).await,
        ("GET" | "HEAD", Place::Entry(id, inner)) => get(kept, id, &inner).await,
        ("GET" | "HEAD", Place::Top | Place::Trash | Place::Restore) => {
            let root = kept.call.view.trash_root()?;
            Ok(read::answer(&kept.call, &root, None).await?)
        }
        ("MOVE", Place::Entry(id, inner)) if inner.is_root() => restore(kept, id).await,
        ("DELETE", Place::Entry(id, inner)) if inner.is_root() => {
            kept.call.view.purge(Some(id)).await?;
            Ok(done(false))
        }
        ("DELETE", Place::Trash) => {
            kept.call.view.purge(None).await?;
            Ok(done(false))
        }
        ("MOVE" | "DELETE", Place::Entry(..)) => {
            Err(Problem::forbidden("A deleted folder comes back, and is deleted for good, as a whole"))
        }
        ("MOVE" | "DELETE", Place::Top | Place::Trash | Place::Restore) => Err(Problem::forbidden("This is a part of the trash itself")),
        _ => Err(Problem::method_not_allowed("This method is not offered in the trash")),
    }
}

async fn locate(kept: &KeptCall<'_>) -> Result<Place> {
    let path = &kept.call.path;
    let mut segments = path.segments();
    let rest = |depth: usize| {
        let names: Vec<&str> = path.segments().skip(depth).collect();
        TreePath::parse(&names.join("/")).unwrap_or_default()
    };
    match kept.tree {
        Tree::NextcloudTrash => match (segments.next(), segments.next()) {
            (None, _) => Ok(Place::Top),
            (Some("restore"), None) => Ok(Place::Restore),
            (Some("trash"), None) => Ok(Place::Trash),
            (Some("trash"), Some(name)) => Ok(Place::Entry(find(&kept.call.view, name).await?.ok_or_else(Problem::not_found)?, rest(2))),
            (Some(_), _) => Err(Problem::not_found()),
        },
        Tree::OwnCloudTrash | Tree::Meta | Tree::NextcloudVersions => match segments.next() {
            None => Ok(Place::Trash),
            Some(id) => Ok(Place::Entry(NodeId(number(id).ok_or_else(Problem::not_found)?), rest(1))),
        },
    }
}

/// A name of Nextcloud's trash; both forms cannot be one.
#[derive(Debug, PartialEq, Eq)]
enum Spelled<'name> {
    /// `NAME.d<time>`.
    Plain(&'name str, Timestamp),
    /// `NAME.d<time>.<number>`, where another one may have the plain name, or it is too long.
    Numbered(NodeId),
}

impl Spelled<'_> {
    fn parse(name: &str) -> Option<Spelled<'_>> {
        let (original, tail) = name.rsplit_once(".d")?;
        match tail.split_once('.') {
            None => tail.parse().ok().map(|deleted| Spelled::Plain(original, deleted)),
            Some((_, id)) => number(id).map(|id| Spelled::Numbered(NodeId(id))),
        }
    }
}

/// The entry of a name, if one alone can be meant.
async fn find(view: &View, name: &str) -> Result<Option<NodeId>> {
    let row = match Spelled::parse(name) {
        // A name stays good when its like is gone.
        Some(Spelled::Numbered(id)) => view.trashed(id).await?.filter(|row| numbered_name(row) == name),
        Some(Spelled::Plain(original, deleted)) => match <[TrashRow; 1]>::try_from(view.trash_named(original, deleted).await?) {
            Ok([row]) => Some(row).filter(|row| plain_name(row).as_deref() == Some(name)),
            // Two of the same name from the same second: only the number tells them apart.
            Err(_) => None,
        },
        None => None,
    };
    Ok(row.map(|row| row.node))
}

/// `NAME.d<time>`; none where that would be too long for a name.
fn plain_name(row: &TrashRow) -> Option<String> {
    let name = format!("{}.d{}", original_name(row), row.deleted);
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// `NAME.d<time>.<number>`, cut to the length of a name: no two entries share it.
fn numbered_name(row: &TrashRow) -> String {
    let suffix = format!(".d{}.{}", row.deleted, row.node.0);
    let name = original_name(row);
    let room = NAME_BYTES_MAX.saturating_sub(suffix.len()).min(name.len());
    let cut = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    [name.get(..cut).unwrap_or_default(), &suffix].concat()
}

/// The names of all entries for Nextcloud's clients, in their order.
fn nextcloud_names(entries: &[(TrashRow, Node)]) -> Vec<String> {
    let plain: Vec<Option<String>> = entries.iter().map(|(row, _)| plain_name(row)).collect();
    let mut counts: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for name in plain.iter().flatten() {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    let unique = |name: &String| counts.get(name.as_str()) == Some(&1);
    entries.iter().zip(&plain).map(|((row, _), plain)| plain.clone().filter(unique).unwrap_or_else(|| numbered_name(row))).collect()
}

fn original_name(row: &TrashRow) -> &str {
    row.path.segments().next_back().unwrap_or_default()
}

async fn propfind(kept: &KeptCall<'_>, place: Place) -> Result<Response<Body>> {
    let depth = kept.depth()?;
    let view = &kept.call.view;
    let own = kept.call.path.clone();
    let item = |path: &TreePath, name: &str, node: Node| Item { path: path.clone(), display_name: name.to_owned(), node, own: Vec::new() };
    let mut items = Vec::new();
    match place {
        Place::Top => {
            let root = view.trash_root()?;
            items.push(item(&own, "trashbin", root.clone()));
            if depth == Depth::One {
                for name in ["trash", "restore"] {
                    items.push(item(&TreePath::parse(name).unwrap_or_default(), name, folder(&root, root.id)));
                }
            }
        }
        Place::Restore => items.push(item(&own, "restore", view.trash_root()?)),
        Place::Trash if depth == Depth::Zero => items.push(item(&own, "trash", view.trash_root()?)),
        Place::Trash => {
            let (root, entries) = view.trash().await?;
            items.push(item(&own, "trash", root));
            let names = match kept.tree {
                Tree::NextcloudTrash => nextcloud_names(&entries),
                Tree::OwnCloudTrash | Tree::Meta | Tree::NextcloudVersions => {
                    entries.iter().map(|(row, _)| row.node.0.to_string()).collect()
                }
            };
            for ((row, node), name) in entries.into_iter().zip(names) {
                let Ok(name) = crate::domain::Name::parse(&name) else { continue };
                items.push(entry(own.join(&name), &row, node));
            }
        }
        Place::Entry(id, inner) => {
            let (row, node, members) = view.trash_list(id, &inner).await?;
            if inner.is_root() {
                items.push(entry(own.clone(), &row, node));
            } else {
                items.push(below(own.clone(), &row, &inner, node));
            }
            if depth == Depth::One {
                items.extend(members.into_iter().map(|(name, member)| below(own.join(&name), &row, &inner.join(&name), member)));
            }
        }
    }
    kept.listed(items).await
}

fn entry(path: TreePath, row: &TrashRow, node: Node) -> Item {
    Item { path, display_name: original_name(row).to_owned(), node, own: properties(row, &row.path) }
}

/// A member of a deleted folder: where it was follows from where the folder was.
fn below(path: TreePath, row: &TrashRow, inner: &TreePath, node: Node) -> Item {
    let original = row.path.join_path(inner);
    let display_name = original.name().map(String::from).unwrap_or_default();
    Item { path, display_name, node, own: properties(row, &original) }
}

fn properties(row: &TrashRow, original: &TreePath) -> Vec<(PropertyName, Box<str>)> {
    let name = original.segments().next_back().unwrap_or_default();
    let time = row.deleted.to_string();
    let mut properties = vec![
        property(OWNCLOUD, "trashbin-original-filename", name),
        property(OWNCLOUD, "trashbin-original-location", original.as_str()),
        property(OWNCLOUD, "trashbin-delete-timestamp", &time),
        property(OWNCLOUD, "trashbin-delete-datetime", &http_date(row.deleted)),
        property(NEXTCLOUD, "trashbin-filename", name),
        property(NEXTCLOUD, "trashbin-original-location", original.as_str()),
        property(NEXTCLOUD, "trashbin-deletion-time", &time),
    ];
    if let Principal::User(user) = &row.by {
        properties.push(property(NEXTCLOUD, "trashbin-deleted-by-id", user.as_str()));
        properties.push(property(NEXTCLOUD, "trashbin-deleted-by-display-name", user.as_str()));
    }
    properties
}

fn http_date(time: Timestamp) -> String {
    String::from_utf8_lossy(&date::http_date(time)).into_owned()
}

async fn get(kept: &mut KeptCall<'_>, id: NodeId, inner: &TreePath) -> Result<Response<Body>> {
    let view = &kept.call.view;
    let opened = match view.trash_open(id, inner).await {
        Err(Error::IsCollection) => {
            let (_, node, _) = view.trash_list(id, inner).await?;
            return Ok(read::answer(&kept.call, &node, None).await?);
        }
        other => other?,
    };
    let (row, node, source) = opened;
    // The name that the file had, not that of the entry, is what a browser saves it under.
    kept.call.path = row.path.join_path(inner);
    let source = (kept.call.method != http::Method::HEAD).then_some(source);
    Ok(read::answer(&kept.call, &node, source).await?)
}

/// A MOVE out of the trash: to a path of the files, or, by Nextcloud's `restore`, to where it was.
async fn restore(kept: &mut KeptCall<'_>, id: NodeId) -> Result<Response<Body>> {
    let goal = kept.goal()?;
    // Whoever asks for what is not theirs learns nothing and changes nothing.
    kept.call.view.trash_list(id, &TreePath::root()).await?;
    // A link that died with its node must not live again (`service::sharing`).
    let swept = kept.sharing.sweep_home(kept.call.view.space_id()).await;
    swept.map_err(|refusal| Problem::internal(refusal.to_string()))?;
    let (created, restored) = match goal {
        Goal::Files(path) if path.is_root() => return Err(Problem::forbidden("The home itself is in the way")),
        Goal::Files(path) => {
            let write = kept.write_to(&path).await?;
            kept.call.view.restore(id, &path, write).await?
        }
        Goal::Own(path) => match path.segments().next() {
            Some("restore") if kept.tree == Tree::NextcloudTrash => (true, kept.call.view.restore_to_origin(id).await?.1),
            Some(_) | None => return Err(Problem::forbidden("Nothing is moved within the trash")),
        },
    };
    let mut response = done(created);
    node_headers(response.headers_mut(), &kept.call, &restored.node);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_nextcloud_are_unique_and_short_enough() {
        let row = |node, name: &str| TrashRow {
            node: NodeId(node),
            path: TreePath::parse(name).unwrap(),
            parent: NodeId::ROOT,
            deleted: 1_700_000_000,
            by: Principal::Anonymous,
        };
        let long = "é".repeat(127);
        let rows = [row(7, "a.txt"), row(8, "d/a.txt"), row(9, "b"), row(10, &long)];
        let node = Node::bare(NodeId(7), crate::domain::Kind::File);
        let entries: Vec<_> = rows.into_iter().map(|row| (row, node.clone())).collect();
        let names = nextcloud_names(&entries);
        assert_eq!(names[..3], ["a.txt.d1700000000.7", "a.txt.d1700000000.8", "b.d1700000000"]);
        assert!(names[3].len() <= NAME_BYTES_MAX && names[3].ends_with(".d1700000000.10"));
        for (name, (row, _)) in names.iter().zip(&entries).filter(|(_, (row, _))| row.node != NodeId(9)) {
            assert_eq!(Spelled::parse(name), Some(Spelled::Numbered(row.node)));
        }
        assert_eq!(Spelled::parse("b.d1700000000"), Some(Spelled::Plain("b", 1_700_000_000)));
        assert_eq!(Spelled::parse("b.d5.d1700000000.7.d3"), Some(Spelled::Plain("b.d5.d1700000000.7", 3)));
        assert_eq!(Spelled::parse(".d3"), Some(Spelled::Plain("", 3)));
        for other in ["b", "b.d", "b.dx", "b.d3.", "b.d3.+7", "b.d3.7.8"] {
            assert_eq!(Spelled::parse(other), None, "{other}");
        }
    }
}
