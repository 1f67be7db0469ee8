//! `cloud/capabilities`: what clients may reckon with. An anonymous caller learns what is needed to log in, and no more.

use crate::domain::UserName;
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::Value;
use crate::protocol::ocs::features::{CHUNK_BYTES_ADVISED, CHUNKS_AT_ONCE_ADVISED, FEATURES, POLL_SECONDS_ADVISED};
use crate::protocol::ocs::sharees::SEARCH_CHARS_MIN;
use crate::protocol::ocs::status;
use crate::service::policy::{PasswordsFor, Policies, Policy};

/// Version and capabilities.
pub(super) fn capabilities(call: &Call) -> Value {
    let version = call.services.options().client_version;
    let numbers = Value::map([
        ("major", version.major.into()),
        ("minor", version.minor.into()),
        ("micro", version.micro.into()),
        ("string", version.short().into()),
        ("edition", "".into()),
        ("extendedSupport", false.into()),
    ]);
    let capabilities = if call.is_known() {
        Value::map([
            ("core", core(call)),
            ("checksums", checksums()),
            ("dav", dav(call)),
            ("files", files(call)),
            ("files_sharing", sharing(call)),
        ])
    } else {
        Value::map([("core", core(call))])
    };
    Value::map([("version", numbers), ("capabilities", capabilities)])
}

fn core(call: &Call) -> Value {
    Value::map([
        ("pollinterval", POLL_SECONDS_ADVISED.into()),
        ("webdav-root", "remote.php/webdav".into()),
        ("status", status::fields(&call.services)),
    ])
}

fn checksums() -> Value {
    // SHA1 is what is kept and told of each file; others are verified on the way in.
    Value::map([("supportedTypes", Value::list(["SHA1"])), ("preferredUploadType", "SHA1".into())])
}

/// Whether what is deleted can be brought back: an administrator may have switched the trash off.
fn has_trash(call: &Call) -> bool {
    FEATURES.trash && call.services.options().trash.is_on()
}

/// Whether what is overwritten stays as a version: an administrator may have switched versions off.
fn has_versions(call: &Call) -> bool {
    FEATURES.versions && call.services.options().versions.is_on()
}

fn dav(call: &Call) -> Value {
    let mut entries = Vec::new();
    if FEATURES.chunking {
        entries.push(("chunking", "1.0".into()));
        entries.push(("public_shares_chunking", true.into()));
    }
    if FEATURES.bulk_upload {
        entries.push(("bulkupload", "1.0".into()));
    }
    if has_trash(call) {
        entries.push(("trashbin", "1.0".into()));
    }
    entries.push(("propfind", Value::map([("depth_infinity", true.into())])));
    Value::Map(entries)
}

/// Names follow the rules of paths and no others (`domain::Name`): everything but a slash, `.` and `..` is kept as it was sent.
fn files(call: &Call) -> Value {
    let none = || Value::nothing();
    let chunks = Value::map([("max_size", CHUNK_BYTES_ADVISED.into()), ("max_parallel_count", CHUNKS_AT_ONCE_ADVISED.into())]);
    let mut entries = vec![("bigfilechunking", FEATURES.chunking.into())];
    if FEATURES.chunking {
        entries.push(("chunked_upload", chunks));
    }
    entries.extend([
        ("undelete", has_trash(call).into()),
        ("versioning", has_versions(call).into()),
        ("file_locking_support", true.into()),
        ("file_locking_enable_file_action", false.into()),
        ("blacklisted_files", none()),
        ("forbidden_filenames", none()),
        ("forbidden_filename_basenames", none()),
        ("forbidden_filename_extensions", none()),
        ("forbidden_filename_characters", Value::list(["/"])),
    ]);
    Value::Map(entries)
}

fn sharing(call: &Call) -> Value {
    let off = || Value::map([("enabled", false.into())]);
    let policy = call.services.policies().current();
    let allowed =
        |switch: fn(&Policies, &UserName) -> bool| call.session().is_ok_and(|session| switch(call.services.policies(), &session.user.name));
    let outgoing = FEATURES.federation_outgoing && allowed(Policies::may_send);
    let incoming = FEATURES.federation_incoming && allowed(Policies::may_receive);
    let public = Value::map([
        ("enabled", policy.links.into()),
        ("can_create_public_link", policy.links.into()),
        ("password", passwords(policy.passwords)),
        ("expire_date", expiry(&policy)),
        ("send_mail", false.into()),
        ("upload", policy.public_upload.into()),
        ("upload_files_drop", policy.public_upload.into()),
        ("supports_upload_only", policy.public_upload.into()),
        ("multiple", true.into()),
        ("multiple_links", true.into()),
    ]);
    Value::map([
        ("api_enabled", FEATURES.share_api.into()),
        ("can_share", FEATURES.share_api.into()),
        ("public", public),
        ("user", Value::map([("send_mail", false.into()), ("expire_date", off())])),
        ("group", Value::map([("enabled", FEATURES.group_shares.into()), ("expire_date", off())])),
        ("user_sharing", FEATURES.user_shares.into()),
        ("group_sharing", FEATURES.group_shares.into()),
        ("resharing", FEATURES.resharing.into()),
        ("auto_accept_share", call.services.options().auto_accept_shares.into()),
        ("share_with_group_members_only", false.into()),
        ("share_with_membership_groups_only", false.into()),
        ("user_enumeration", Value::map([("enabled", true.into()), ("group_members_only", false.into())])),
        ("search_min_length", SEARCH_CHARS_MIN.into()),
        ("default_permissions", 31_u64.into()),
        ("federation", Value::map([("outgoing", outgoing.into()), ("incoming", incoming.into())])),
    ])
}

/// For whom links are made: ownCloud's clients read what is demanded of each kind of link, Nextcloud's one word for all.
fn passwords(demanded: PasswordsFor) -> Value {
    let PasswordsFor { read, edit, drop } = demanded;
    let kinds = [("read_only", read), ("read_write", edit), ("upload_only", drop), ("read_write_delete", edit)];
    Value::map([
        ("enforced", (read || edit || drop).into()),
        ("enforced_for", Value::map(kinds.map(|(kind, on)| (kind, on.into())))),
        ("askForOptionalPassword", false.into()),
    ])
}

fn expiry(policy: &Policy) -> Value {
    let days = if policy.expiry_default_days > 0 { policy.expiry_default_days } else { policy.expiry_max_days };
    if days == 0 {
        return Value::map([("enabled", false.into())]);
    }
    Value::map([("enabled", true.into()), ("days", u64::from(days).into()), ("enforced", (policy.expiry_max_days > 0).into())])
}
