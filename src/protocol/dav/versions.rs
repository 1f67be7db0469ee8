//! Old versions over WebDAV: `meta/FILEID/v/NUMBER` for ownCloud's clients, `versions/FILEID/NUMBER` for Nextcloud's. A version comes back by
//! COPY (or MOVE, as Nextcloud says it) to its file, or to Nextcloud's `restore`.

use http::Response;

use crate::domain::{Etag, Kind, Node, NodeId, TreePath};
use crate::protocol::dav::kept::{Goal, Item, KeptCall, Tree, done, number, property};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::properties::{NEXTCLOUD, OWNCLOUD};
use crate::protocol::dav::request::Depth;
use crate::protocol::dav::{node_headers, read};
use crate::tree::VersionRow;
use crate::wire::Body;

/// What a URL of the versions means.
enum Place {
    /// The root, which is not listed: it would be every file.
    Top,
    /// ownCloud's `meta/FILEID`, which tells where the file is.
    File(NodeId),
    /// The versions of a file.
    Versions(NodeId),
    /// One of them.
    Version(NodeId, u64),
}

/// Answers one request.
pub(super) async fn answer(kept: &mut KeptCall<'_>) -> Result<Response<Body>> {
    let place = locate(kept)?;
    match (kept.call.method.as_str(), place) {
        ("PROPFIND", place) => propfind(kept, place).await,
        ("GET" | "HEAD", Place::Version(id, number)) => get(kept, id, number).await,
        ("COPY" | "MOVE", Place::Version(id, number)) => restore(kept, id, number).await,
        ("DELETE", Place::Version(id, number)) => {
            kept.call.view.purge_version(id, number).await?;
            Ok(done(false))
        }
        _ => Err(Problem::method_not_allowed("This method is not offered for old versions")),
    }
}

fn locate(kept: &KeptCall<'_>) -> Result<Place> {
    let segments: Vec<&str> = kept.call.path.segments().collect();
    // Some clients write `oc:id`, the number with the server's id behind it and zeros before.
    let instance = kept.call.view.instance_id();
    let id = |text: &str| number(text.strip_suffix(instance).unwrap_or(text).trim_start_matches('0')).map(NodeId);
    let place = match (kept.tree, segments.as_slice()) {
        (_, []) => Some(Place::Top),
        (Tree::NextcloudVersions, ["versions"]) => Some(Place::Top),
        (Tree::NextcloudVersions, ["versions", file]) => id(file).map(Place::Versions),
        (Tree::NextcloudVersions, ["versions", file, version]) => {
            id(file).and_then(|id| number(version).map(|number| Place::Version(id, number)))
        }
        (Tree::Meta, [file]) => id(file).map(Place::File),
        (Tree::Meta, [file, "v"]) => id(file).map(Place::Versions),
        (Tree::Meta, [file, "v", version]) => id(file).and_then(|id| number(version).map(|number| Place::Version(id, number))),
        (Tree::NextcloudVersions | Tree::Meta | Tree::OwnCloudTrash | Tree::NextcloudTrash, _) => None,
    };
    place.ok_or_else(Problem::not_found)
}

async fn propfind(kept: &KeptCall<'_>, place: Place) -> Result<Response<Body>> {
    let depth = kept.depth()?;
    let own = kept.call.path.clone();
    let view = &kept.call.view;
    let items = match place {
        Place::Top => return Err(Problem::forbidden("Versions are listed file by file")),
        Place::File(id) => {
            let path = view.node_path(id).await?;
            let entry = view.stat(&path).await?;
            let display_name = path.name().map(String::from).unwrap_or_default();
            let node = Node { kind: Kind::Collection, size: 0, ..entry.node };
            vec![Item { path: own, display_name, node, own: vec![property(OWNCLOUD, "meta-path-for-user", &path.to_string())] }]
        }
        Place::Versions(id) => {
            let (node, path, versions) = view.versions(id).await?;
            let name = path.name().map(String::from).unwrap_or_default();
            let holder = Node { kind: Kind::Collection, size: 0, checksum: None, ..node.clone() };
            let mut items = vec![Item { path: own.clone(), display_name: "v".to_owned(), node: holder, own: Vec::new() }];
            if depth == Depth::One {
                // The newest first, as both families list them.
                for row in versions.iter().rev() {
                    let Ok(number) = crate::domain::Name::parse(&row.number.to_string()) else { continue };
                    items.push(item(own.join(&number), &name, &node, row));
                }
            }
            items
        }
        Place::Version(id, number) => {
            let (node, row, _) = view.open_version(id, number).await?;
            let name = view.node_path(id).await?.name().map(String::from).unwrap_or_default();
            vec![item(own, &name, &node, &row)]
        }
    };
    kept.listed(items).await
}

fn item(path: TreePath, name: &str, node: &Node, row: &VersionRow) -> Item {
    let own = vec![property(NEXTCLOUD, "version-label", "")];
    Item { path, display_name: name.to_owned(), node: version_node(node, row), own }
}

/// An old version as a node.
fn version_node(node: &Node, row: &VersionRow) -> Node {
    Node {
        etag: Etag::Opaque(format!("v{:x}-{}", row.number, row.file).into()),
        size: row.size,
        modified: row.modified,
        checksum: row.checksum.clone(),
        has_properties: false,
        ..node.clone()
    }
}

async fn get(kept: &mut KeptCall<'_>, id: NodeId, number: u64) -> Result<Response<Body>> {
    let path = kept.call.view.node_path(id).await?;
    let (node, row, source) = kept.call.view.open_version(id, number).await?;
    let node = version_node(&node, &row);
    // A browser saves it under the name of the file.
    kept.call.path = path;
    let source = (kept.call.method != http::Method::HEAD).then_some(source);
    Ok(read::answer(&kept.call, &node, source).await?)
}

async fn restore(kept: &mut KeptCall<'_>, id: NodeId, number: u64) -> Result<Response<Body>> {
    let path = kept.call.view.node_path(id).await?;
    let to = match kept.goal()? {
        Goal::Files(to) => to,
        Goal::Own(goal) if kept.tree == Tree::NextcloudVersions && goal.segments().next() == Some("restore") => path.clone(),
        Goal::Own(_) => return Err(Problem::forbidden("An old version comes back to its own file alone")),
    };
    // Overwriting is what it is for, whatever the header says.
    kept.home.headers.remove("overwrite");
    let write = kept.write_to(&path).await?;
    let entry = kept.call.view.restore_version(id, number, Some(&to), write).await?;
    let mut response = done(false);
    node_headers(response.headers_mut(), &kept.call, &entry.node);
    Ok(response)
}
