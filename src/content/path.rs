//! Paths below davroot, made from checked parts alone.

use crate::domain::{ChunkName, Name, SpaceId, TreePath, UploadId, UserName};

/// Where everything lies that is not a user's file.
pub(super) const OWN: &str = ".causeway";
pub(super) const STAGING: &str = "staging";
pub(super) const PURGE: &str = "trash-purge";
pub(super) const REMOVED: &str = "removed";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const TRASH: &str = "trash";
pub(super) const VERSIONS: &str = "versions";

/// A path below davroot: names joined by `/`; none of them is `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DiskPath(String);

impl DiskPath {
    /// The folder of a user's home. Names of users never start with a dot, so that it is never `.causeway`.
    pub fn home(user: &UserName) -> DiskPath {
        DiskPath(user.as_str().to_owned())
    }

    /// The folder of the unfinished uploads of a space.
    pub fn uploads(space: SpaceId) -> DiskPath {
        DiskPath::own(UPLOADS, &space.0.to_string())
    }

    /// The folder of one unfinished upload.
    pub fn upload(space: SpaceId, upload: UploadId) -> DiskPath {
        DiskPath([DiskPath::uploads(space).as_str(), "/", &upload.0.to_string()].concat())
    }

    /// A chunk in such a folder. Its size is part of its name: a power cut may leave less of a file than was written.
    pub fn chunk(&self, name: &ChunkName, size: u64) -> DiskPath {
        DiskPath(format!("{}/{}~{size:x}", self.0, name.as_str()))
    }

    /// Something in a folder of `.causeway`.
    pub(super) fn own(folder: &str, name: &str) -> DiskPath {
        DiskPath([OWN, folder, name].join("/"))
    }

    /// What keeps the deleted files and folders of a space.
    pub fn trash(space: SpaceId) -> DiskPath {
        DiskPath::own(TRASH, &space.0.to_string())
    }

    /// What keeps the old versions of the files of a space.
    pub fn versions(space: SpaceId) -> DiskPath {
        DiskPath::own(VERSIONS, &space.0.to_string())
    }

    /// A path as a placement keeps it; none if it was not made by this type.
    pub fn stored(text: &str) -> Option<DiskPath> {
        let fits = text.split('/').all(|name| !name.is_empty() && name != "." && name != ".." && !name.contains('\0'));
        fits.then(|| DiskPath(text.to_owned()))
    }

    /// A name in this folder.
    pub fn join(&self, name: &Name) -> DiskPath {
        DiskPath([&self.0, "/", name.as_str()].concat())
    }

    /// A path below this folder.
    pub fn below(&self, path: &TreePath) -> DiskPath {
        if path.is_root() { self.clone() } else { DiskPath([&self.0, "/", path.as_str()].concat()) }
    }

    /// The folder and the last name.
    pub(super) fn split(&self) -> Option<(&str, &str)> {
        if self.0.is_empty() { None } else { Some(self.0.rsplit_once('/').unwrap_or(("", &self.0))) }
    }

    /// The folder that this lies in.
    pub fn folder(&self) -> DiskPath {
        DiskPath(self.split().map(|(folder, _)| folder.to_owned()).unwrap_or_default())
    }

    /// Whether this lies in the staging folder.
    pub fn is_staged(&self) -> bool {
        self.folder().as_str() == [OWN, STAGING].join("/")
    }

    /// Whether this lies in the purge folder, from which nothing comes back.
    pub fn is_purged(&self) -> bool {
        self.folder().as_str() == [OWN, PURGE].join("/")
    }

    /// Whether this lies in the folder of trash or versions of a space.
    pub fn is_in_kept_folder(&self) -> bool {
        let above = self.folder().folder();
        [TRASH, VERSIONS].iter().any(|own| above.as_str() == [OWN, own].join("/"))
    }

    /// Whether this lies in a folder whose names matter after a crash: everywhere but where things are on their way in or out.
    pub fn is_kept(&self) -> bool {
        let folder = self.folder();
        ![STAGING, PURGE].iter().any(|own| folder.as_str() == [OWN, own].join("/"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
