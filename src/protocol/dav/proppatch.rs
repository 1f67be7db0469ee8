//! PROPPATCH (RFC 4918 9.2): dead properties as they come, and the modification time. All changes happen, or none.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::domain::{PropertyChange, PropertyName, Timestamp};
use crate::limits::{PROPERTY_BYTES_MAX, XML_BODY_BYTES_MAX, XML_PROPERTIES_MAX};
use crate::protocol::dav::conditions;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::properties::{Live, MICROSOFT};
use crate::protocol::dav::request::{Call, Payload, full};
use crate::wire::Body;
use crate::wire::date;
use crate::wire::multistatus::writer::{self, Status};
use crate::wire::xml::{self, DAV, Element, Writer};

/// What a client asks to do with one property, and what came of it.
pub(super) struct Wish {
    pub(super) name: PropertyName,
    /// Changes to be made, or why there will be none.
    pub(super) plan: std::result::Result<Vec<PropertyChange>, Status>,
}

/// Answers PROPPATCH.
pub(super) async fn proppatch(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    let root = xml::parse(&payload.bytes(XML_BODY_BYTES_MAX).await?)?;
    if !root.is_dav("propertyupdate") {
        return Err(Problem::bad_request("The body is not a propertyupdate"));
    }
    let wishes = wishes(&root)?;
    let entry = call.view.stat(&call.path).await?;
    let judged = conditions::judge(call).await?;
    let refused = wishes.iter().any(|wish| wish.plan.is_err());
    if !refused {
        let changes = wishes.iter().filter_map(|wish| wish.plan.as_ref().ok()).flatten().cloned().collect();
        call.view.patch_properties(&call.path, changes, judged.write()).await?;
    }
    let mut out = Writer::with_capacity(1024);
    writer::begin(&mut out);
    writer::begin_response(&mut out);
    out.text(&call.own_href(entry.node.is_collection()));
    writer::end_href(&mut out);
    propstats(&mut out, &wishes);
    writer::end_response(&mut out);
    writer::end(&mut out);
    let mut response = Response::new(full(Bytes::from(out.into_bytes())));
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
    Ok(response)
}

/// The properties by status: where one is refused, the others fail with it (RFC 4918 9.2).
pub(super) fn propstats(out: &mut Writer, wishes: &[Wish]) {
    let refused = wishes.iter().any(|wish| wish.plan.is_err());
    let status = |wish: &Wish| match &wish.plan {
        Ok(_) if refused => Status::FailedDependency,
        Ok(_) => Status::Ok,
        Err(status) => *status,
    };
    let statuses = [Status::Ok, Status::Forbidden, Status::Conflict, Status::InsufficientStorage, Status::FailedDependency];
    for wanted in statuses.into_iter().filter(|wanted| wishes.iter().any(|wish| status(wish) == *wanted)) {
        writer::begin_propstat(out);
        for wish in wishes.iter().filter(|wish| status(wish) == wanted) {
            out.empty_named(&wish.name);
        }
        out.markup("</d:prop><d:status>");
        out.markup(wanted.line());
        out.markup("</d:status>");
        if wanted == Status::Forbidden {
            out.markup("<d:error><d:cannot-modify-protected-property/></d:error>");
        }
        out.markup("</d:propstat>");
    }
    if wishes.is_empty() {
        writer::begin_propstat(out);
        writer::end_propstat(out, Status::Ok);
    }
}

/// The `set` and `remove` instructions in their order.
pub(super) fn wishes(root: &Element) -> Result<Vec<Wish>> {
    let mut wishes = Vec::new();
    for instruction in root.elements() {
        let set = instruction.is_dav("set");
        if !set && !instruction.is_dav("remove") {
            continue;
        }
        for prop in instruction.elements().filter(|element| element.is_dav("prop")) {
            let language = prop.language().or_else(|| instruction.language()).or_else(|| root.language());
            for property in prop.elements() {
                if wishes.len() >= XML_PROPERTIES_MAX {
                    return Err(Problem::too_large("Too many properties are to be changed"));
                }
                let plan = if set { plan_set(property.clone(), language) } else { plan_remove(&property.name) };
                wishes.push(Wish { name: property.name.clone(), plan });
            }
        }
    }
    Ok(wishes)
}

fn plan_set(mut property: Element, language: Option<&str>) -> std::result::Result<Vec<PropertyChange>, Status> {
    let name = property.name.clone();
    let modified = (&*name.namespace == DAV && matches!(&*name.local, "lastmodified" | "getlastmodified"))
        || (&*name.namespace == MICROSOFT && &*name.local == "Win32LastModifiedTime");
    if modified {
        let time = read_time(&property.text()).ok_or(Status::Conflict)?;
        let mut changes = vec![PropertyChange::Modified(time)];
        if &*name.namespace == MICROSOFT {
            // Explorer reads it back as well.
            changes.push(dead(name, &property)?);
        }
        return Ok(changes);
    }
    if Live::by_name(&name).is_some_and(|live| !live.may_be_set()) {
        return Err(Status::Forbidden);
    }
    property.inherit_language(language);
    Ok(vec![dead(name, &property)?])
}

fn dead(name: PropertyName, property: &Element) -> std::result::Result<PropertyChange, Status> {
    let xml = property.to_xml();
    if xml.len() > PROPERTY_BYTES_MAX {
        return Err(Status::InsufficientStorage);
    }
    Ok(PropertyChange::Set(name, xml.into_boxed_str()))
}

fn plan_remove(name: &PropertyName) -> std::result::Result<Vec<PropertyChange>, Status> {
    match Live::by_name(name) {
        Some(live) if !live.may_be_set() => Err(Status::Forbidden),
        Some(_) | None => Ok(vec![PropertyChange::Remove(name.clone())]),
    }
}

/// Seconds since 1970, as sync clients and Nextcloud send them, or an HTTP date, as Explorer does.
fn read_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| date::parse_http_date(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(body: &str) -> Vec<Wish> {
        wishes(&xml::parse(body.as_bytes()).unwrap()).unwrap()
    }

    fn answer(body: &str) -> String {
        let mut out = Writer::new();
        propstats(&mut out, &plan(body));
        out.into_string()
    }

    const HEAD: &str = r#"<d:propertyupdate xmlns:d="DAV:" xmlns:z="urn:schemas-microsoft-com:" xmlns:oc="http://owncloud.org/ns">"#;

    #[test]
    fn times_are_set_as_clients_send_them() {
        for property in [
            "<d:lastmodified>1600000000</d:lastmodified>",
            "<d:getlastmodified>Sun, 13 Sep 2020 12:26:40 GMT</d:getlastmodified>",
            "<z:Win32LastModifiedTime>Sun, 13 Sep 2020 12:26:40 GMT</z:Win32LastModifiedTime>",
        ] {
            let wishes = plan(&format!("{HEAD}<d:set><d:prop>{property}</d:prop></d:set></d:propertyupdate>"));
            let changes = wishes[0].plan.as_ref().unwrap();
            assert!(matches!(changes[0], PropertyChange::Modified(1_600_000_000)), "{property}");
        }
        let wrong = plan(&format!("{HEAD}<d:set><d:prop><d:lastmodified>soon</d:lastmodified></d:prop></d:set></d:propertyupdate>"));
        assert!(matches!(wrong[0].plan, Err(Status::Conflict)));
    }

    #[test]
    fn a_protected_property_fails_the_others_with_it() {
        let text =
            answer(&format!("{HEAD}<d:set><d:prop><d:getetag>x</d:getetag><a xmlns=\"urn:a\">1</a></d:prop></d:set></d:propertyupdate>"));
        assert!(
            text.contains("<getetag xmlns=\"DAV:\"/></d:prop><d:status>HTTP/1.1 403 Forbidden</d:status><d:error><d:cannot-modify"),
            "{text}"
        );
        assert!(text.contains("<a xmlns=\"urn:a\"/></d:prop><d:status>HTTP/1.1 424 Failed Dependency</d:status>"), "{text}");
    }

    #[test]
    fn dead_properties_keep_their_language_and_namespace() {
        let wishes = plan(&format!(
            "{HEAD}<d:set xml:lang=\"de\"><d:prop><oc:favorite>1</oc:favorite><n xmlns=\"\"/></d:prop></d:set></d:propertyupdate>"
        ));
        let Ok(changes) = &wishes[0].plan else { panic!("refused") };
        let PropertyChange::Set(_, xml) = &changes[0] else { panic!("not set") };
        assert_eq!(&**xml, "<favorite xmlns=\"http://owncloud.org/ns\" xml:lang=\"de\">1</favorite>");
        assert_eq!(&*wishes[1].name.namespace, "");
    }

    #[test]
    fn d3_values_are_bounded() {
        let long = "x".repeat(PROPERTY_BYTES_MAX);
        let wishes = plan(&format!("{HEAD}<d:set><d:prop><d:a>{long}</d:a></d:prop></d:set></d:propertyupdate>"));
        assert!(matches!(wishes[0].plan, Err(Status::InsufficientStorage)));
    }
}
