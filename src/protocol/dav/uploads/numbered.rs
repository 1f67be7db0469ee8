//! The first kind of chunking, which old clients use: `PUT PATH-chunking-TRANSFER-COUNT-INDEX` with `OC-Chunked: 1`
//! (`protocol/owncloud.md` 4). The chunk that makes the transfer whole places the file; without that header such a name is a name like any other.

use http::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::{announced, keep, offered, place_whole, status};
use crate::domain::{ChunkName, Error, TreePath, UploadName};
use crate::limits::UPLOAD_CHUNKS_MAX;
use crate::protocol::dav::conditions;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Payload};
use crate::service::uploads::Announced;
use crate::wire::Body;

/// One chunk, as its name tells.
#[derive(Debug, PartialEq, Eq)]
struct Numbered {
    path: TreePath,
    transfer: u64,
    count: u32,
    index: u32,
}

/// Takes a chunk.
pub(in crate::protocol::dav) async fn put_numbered(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    let uploads = offered(call)?;
    let chunk = Numbered::parse(&call.path)?;
    let call = call.writing(chunk.path);
    let announced = announced(&call)?;
    // What is refused at the end anyway is refused before the bytes are sent.
    drop(conditions::judge(&call).await?);
    let name = UploadName::Transfer { path: Sha256::digest(call.path.as_str()).into(), transfer: chunk.transfer };
    let told = Announced { total: announced, count: Some(chunk.count) };
    let upload = match uploads.find(&call.view, &name) {
        Ok(upload) => upload,
        Err(Error::NotFound) => {
            super::demand_size(&call, announced.unwrap_or(0))?;
            call.view.check_upload(&call.path, announced.unwrap_or(0)).await?;
            match uploads.begin(&call.view, name.clone(), told).await {
                // Another chunk was faster.
                Err(Error::Exists) => uploads.find(&call.view, &name)?,
                begun => begun?,
            }
        }
        Err(error) => return Err(error.into()),
    };
    if upload.count != Some(chunk.count) || (announced.is_some() && upload.total != announced) {
        return Err(Problem::bad_request("The chunks of this transfer tell different numbers or lengths"));
    }
    let (_, have) = keep(&call, payload, &upload, ChunkName::numbered(chunk.index)).await?;
    if u64::try_from(have).unwrap_or(u64::MAX) < u64::from(chunk.count) {
        return Ok(status(StatusCode::CREATED));
    }
    match place_whole(&call, uploads, &upload, announced).await {
        // Two chunks came last, and the other one has placed the file.
        Err(_) if uploads.find(&call.view, &name).is_err() => Ok(status(StatusCode::CREATED)),
        placed => placed,
    }
}

impl Numbered {
    fn parse(path: &TreePath) -> Result<Numbered> {
        let wrong = || Problem::bad_request("With OC-Chunked the name is NAME-chunking-TRANSFER-COUNT-INDEX");
        let (file, numbers) = path.as_str().rsplit_once("-chunking-").ok_or_else(wrong)?;
        let mut numbers = numbers.split('-').map(|digits| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse::<u64>().map_err(|_error| wrong()) } else { Err(wrong()) }
        });
        let mut next = || numbers.next().unwrap_or_else(|| Err(wrong()));
        let (transfer, count, index) = (next()?, next()?, next()?);
        if numbers.next().is_some() || file.is_empty() || file.ends_with('/') {
            return Err(wrong());
        }
        let count =
            u32::try_from(count).ok().filter(|count| (1..=UPLOAD_CHUNKS_MAX).contains(&usize::try_from(*count).unwrap_or(usize::MAX)));
        let count = count.ok_or_else(|| Problem::bad_request("The number of chunks is out of bounds"))?;
        let index = u32::try_from(index).ok().filter(|index| *index < count);
        let index = index.ok_or_else(|| Problem::bad_request("The index of the chunk is out of bounds"))?;
        Ok(Numbered { path: TreePath::parse(file)?, transfer, count, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, u64, u32, u32)>) {
        let parsed = Numbered::parse(&TreePath::parse(path).unwrap()).ok();
        let expected =
            expected.map(|(path, transfer, count, index)| Numbered { path: TreePath::parse(path).unwrap(), transfer, count, index });
        assert_eq!(parsed, expected, "{path}");
    }

    #[test]
    fn names_of_numbered_chunks_are_read_from_their_end() {
        check("a/b.bin-chunking-4711-3-0", Some(("a/b.bin", 4711, 3, 0)));
        check("x-chunking-1-2-3-chunking-4711-3-2", Some(("x-chunking-1-2-3", 4711, 3, 2)));
        check("b.bin-chunking-4711-3-3", None);
        check("b.bin-chunking-4711-0-0", None);
        check("b.bin-chunking-4711-1000000-0", None);
        check("b.bin-chunking-4711-3", None);
        check("b.bin-chunking-4711-3-1-1", None);
        check("b.bin-chunking--3-1", None);
        check("b.bin-chunking-+1-3-1", None);
        check("b.bin-chunking-99999999999999999999-3-1", None);
        check("a/-chunking-1-1-0", None);
        check("-chunking-1-1-0", None);
        check("b.bin", None);
    }
}
