//! `sharees`: with whom something can be shared, as clients ask while a name is typed.

use std::sync::Arc;

use http::Method;

use crate::domain::{CloudId, User};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::share_rows::{GROUP, REMOTE, USER};

/// Shortest text that is searched for, in characters: what clients are told, so that they do not ask for less.
pub(super) const SEARCH_CHARS_MIN: u32 = 2;
/// Most of one kind in one answer.
const PER_PAGE_MAX: usize = 200;

/// Somebody who was found.
pub(super) struct Found {
    pub(super) share_type: u8,
    pub(super) name: String,
    pub(super) shown: String,
    /// Name or shown name are what was searched for.
    pub(super) exact: bool,
}

impl Found {
    /// As clients read it.
    pub(super) fn value(self) -> Value {
        let value = Value::map([("shareType", u32::from(self.share_type).into()), ("shareWith", self.name.clone().into())]);
        Value::map([("label", self.shown.into()), ("value", value), ("shareWithDisplayNameUnique", self.name.into())])
    }
}

/// Users and groups whose names hold what was searched for. A name that is known whole is found however short it is.
pub(super) fn sharees(call: &Call) -> Answer {
    let me = &call.session()?.user;
    if call.method != Method::GET {
        return Err(Problem::not_allowed());
    }
    let search = call.parameters.get("search").unwrap_or_default().trim().to_lowercase();
    let number = |name: &str, default: usize, wrong: &'static str| match call.parameters.get(name).filter(|text| !text.is_empty()) {
        Some(text) => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| Problem::bad_request(wrong)),
        None => Ok(default),
    };
    let page = number("page", 1, "Invalid page")?;
    let per_page = number("perPage", PER_PAGE_MAX, "Invalid perPage argument")?.min(PER_PAGE_MAX);
    let types: Vec<&str> = call.parameters.all("shareType").collect();
    let wanted = |share_type: u8| types.is_empty() || types.contains(&share_type.to_string().as_str());
    let matched = |share_type: u8, name: &str, shown: &str| {
        let (lower, lower_shown) = (name.to_lowercase(), shown.to_lowercase());
        let exact = lower == search || lower_shown == search;
        let long = search.chars().count() >= usize::try_from(SEARCH_CHARS_MIN).unwrap_or_default();
        let found = exact || (long && (lower.contains(&search) || lower_shown.contains(&search)));
        found.then(|| Found { share_type, name: name.to_owned(), shown: shown.to_owned(), exact })
    };
    let accounts = call.services.accounts().list();
    let enabled = |user: &&Arc<User>| call.services.accounts().is_enabled(&user.name);
    let others = accounts.iter().filter(enabled).filter(|user| wanted(USER) && user.name != me.name);
    let users = others.filter_map(|user| matched(USER, user.name.as_str(), &user.display_name));
    let groups = call.services.groups().list();
    let groups = groups.iter().filter(|_| wanted(GROUP)).filter_map(|group| matched(GROUP, group.name.as_str(), &group.display_name));
    let paged = |found: &mut dyn Iterator<Item = Found>| {
        let found = found.skip((page - 1).saturating_mul(per_page)).take(per_page);
        let (exact, others): (Vec<Found>, Vec<Found>) = found.partition(|found| found.exact);
        (Value::list(exact.into_iter().map(Found::value)), Value::list(others.into_iter().map(Found::value)))
    };
    let (exact_users, users) = paged(&mut users.into_iter());
    let (exact_groups, groups) = paged(&mut groups.into_iter());
    let contacts = if wanted(REMOTE) { call.services.federation().contacts_of(me)? } else { Vec::new() };
    let known = contacts.iter().filter_map(|contact| {
        let is = |text: &str| !text.is_empty() && text.to_lowercase() == search;
        let whole = is(contact.address.user());
        let found = matched(REMOTE, &contact.address.to_string(), &contact.name);
        // An e-mail address is what somebody says of themselves: it leads to them, but never counts as who is meant.
        let known = whole || found.is_some() || is(&contact.email);
        known.then(|| (whole || found.is_some_and(|found| found.exact), contact))
    });
    let known: Vec<_> = known.skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
    let of =
        |exact: bool| known.iter().filter(move |(is, _)| *is == exact).map(|(_, contact)| address_row(&contact.address, &contact.name));
    // Who was searched for by the whole address is found without being a contact.
    let whole =
        remote(call).filter(|address| wanted(REMOTE) && !known.iter().any(|(exact, contact)| *exact && contact.address.is(address)));
    let whole = whole.map(|address| address_row(&address, address.user()));
    let (exact_remotes, remotes) = (Value::list(of(true).chain(whole)), Value::list(of(false)));
    Ok(answer_of([exact_users, exact_groups, exact_remotes], [users, groups, remotes]))
}

/// Users, groups and users of other servers: those that are meant exactly, and the others. There are none of the kinds that Nextcloud knows beside.
pub(super) fn answer_of(exact: [Value; 3], others: [Value; 3]) -> Value {
    let kinds = |[users, groups, remotes]: [Value; 3]| {
        let mut kinds = vec![("users", users), ("groups", groups), ("remotes", remotes)];
        kinds.extend(["remote_groups", "emails", "circles", "rooms", "lookup"].map(|kind| (kind, Value::nothing())));
        kinds
    };
    let mut all = vec![("exact", Value::Map(kinds(exact)))];
    all.extend(kinds(others));
    // No directory of other servers is asked.
    all.push(("lookupEnabled", false.into()));
    Value::Map(all)
}

/// The user of another server whose whole address was searched for. Whether there is one is asked when something is shared with them.
fn remote(call: &Call) -> Option<CloudId> {
    CloudId::parse(call.parameters.get("search")?).ok().filter(|address| !call.services.federation().is_ours(address))
}

fn address_row(address: &CloudId, name: &str) -> Value {
    let written = String::from(address.clone());
    let value = Value::map([
        ("shareType", u32::from(REMOTE).into()),
        ("shareWith", written.clone().into()),
        ("server", address.host().to_owned().into()),
    ]);
    let shown = format!("{name} ({})", address.host());
    Value::map([("label", shown.into()), ("value", value), ("shareWithDisplayNameUnique", written.into())])
}
