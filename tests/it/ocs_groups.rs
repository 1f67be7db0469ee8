//! Groups by OCS: made, filled, administered and removed, with the group of administrators that every tool knows.

use serde_json::json;

use crate::ocs_users::{code, done, ocs, with_staff};

#[tokio::test]
async fn administrators_make_rename_and_remove_groups() {
    let server = with_staff().await;
    let groups = |query: &str| done(ocs(&server, "root", "GET", &format!("groups{query}"), ""));
    assert_eq!(groups("").await.1["groups"], json!(["admin", "staff"]));
    assert_eq!(code(&server, "root", "POST", "groups", "groupid=Caf%C3%A9+team").await, 100);
    for (body, expected) in [("groupid=", 101), ("groupid=a%2Fb", 101), ("", 101), ("groupid=STAFF", 102), ("groupid=Admin", 102)] {
        assert_eq!(code(&server, "root", "POST", "groups", body).await, expected, "{body}");
    }
    assert_eq!(groups("?search=caf").await.1["groups"], json!(["Café team"]));
    assert_eq!(groups("?offset=1&limit=1").await.1["groups"], json!(["Café team"]));
    let path = "groups/caf%C3%A9%20team";
    assert_eq!(code(&server, "root", "PUT", path, "key=displayname&value=The+team").await, 100);
    assert_eq!(code(&server, "root", "PUT", path, "key=displayname&value=").await, 102);
    assert_eq!(code(&server, "root", "PUT", path, "key=gid&value=x").await, 102);
    assert_eq!(groups("?search=the+team").await.1["groups"], json!(["Café team"]));
    assert_eq!(done(ocs(&server, "root", "GET", path, "")).await.1["users"], json!([]));
    assert_eq!(code(&server, "root", "DELETE", path, "").await, 100);
    assert_eq!(code(&server, "root", "DELETE", path, "").await, 101);
    assert_eq!(code(&server, "root", "GET", path, "").await, 998);
    assert_eq!(code(&server, "root", "DELETE", "groups/admin", "").await, 102);
    assert_eq!(code(&server, "root", "PATCH", "groups/staff", "").await, 405);
    assert_eq!(code(&server, "root", "GET", "groups/staff/nothing", "").await, 998);
    server.stop().await;
}

#[tokio::test]
async fn users_come_into_groups_and_leave_them() {
    let server = with_staff().await;
    assert_eq!(code(&server, "root", "POST", "users/carl/groups", "groupid=staff").await, 100);
    assert_eq!(done(ocs(&server, "root", "GET", "users/carl/groups", "")).await.1["groups"], json!(["staff"]));
    assert_eq!(done(ocs(&server, "root", "GET", "groups/staff", "")).await.1["users"], json!(["anna", "bob", "carl"]));
    assert_eq!(done(ocs(&server, "root", "GET", "groups/staff/users?search=A&limit=1", "")).await.1["users"], json!(["anna"]));
    // Tools name the group of a removal in the query or in the body.
    assert_eq!(code(&server, "root", "DELETE", "users/carl/groups?groupid=staff", "").await, 100);
    assert_eq!(code(&server, "root", "DELETE", "users/carl/groups", "groupid=staff").await, 100);
    assert_eq!(done(ocs(&server, "root", "GET", "users/carl/groups", "")).await.1["groups"], json!([]));
    for (path, body, expected) in
        [("users/carl/groups", "", 101), ("users/carl/groups", "groupid=nothing", 102), ("users/nobody/groups", "groupid=staff", 103)]
    {
        assert_eq!(code(&server, "root", "POST", path, body).await, expected, "{path} {body}");
        assert_eq!(code(&server, "root", "DELETE", path, body).await, expected, "{path} {body}");
    }
    assert_eq!(code(&server, "root", "GET", "users/nobody/groups", "").await, 998);
    assert_eq!(code(&server, "root", "PUT", "users/carl/groups", "").await, 405);
    server.stop().await;
}

#[tokio::test]
async fn the_group_of_administrators_is_the_mark_of_the_account() {
    let server = with_staff().await;
    assert_eq!(done(ocs(&server, "root", "GET", "groups/admin", "")).await.1["users"], json!(["root"]));
    assert_eq!(code(&server, "root", "POST", "users/carl/groups", "groupid=admin").await, 100);
    assert_eq!(done(ocs(&server, "carl", "GET", "groups/ADMIN", "")).await.1["users"], json!(["carl", "root"]));
    assert_eq!(done(ocs(&server, "carl", "GET", "user", "")).await.1["groups"], json!(["admin"]));
    let server = server.restart().await;
    assert_eq!(code(&server, "root", "DELETE", "users/root/groups", "groupid=admin").await, 105, "the last one stays");
    assert_eq!(code(&server, "carl", "DELETE", "users/root/groups", "groupid=admin").await, 100);
    assert_eq!(code(&server, "root", "GET", "users", "").await, 403);
    assert_eq!(code(&server, "carl", "POST", "users", "userid=dora&password=x&groups[]=admin").await, 100);
    assert_eq!(done(ocs(&server, "carl", "GET", "groups/admin", "")).await.1["users"], json!(["carl", "dora"]));
    server.stop().await;
}

#[tokio::test]
async fn subadmins_are_made_asked_for_and_unmade_by_administrators() {
    let server = with_staff().await;
    let of_group = || done(ocs(&server, "root", "GET", "groups/staff/subadmins", ""));
    assert_eq!(of_group().await.1, json!(["anna"]));
    assert_eq!(code(&server, "root", "POST", "users/carl/subadmins", "groupid=staff").await, 100);
    assert_eq!(of_group().await.1, json!(["anna", "carl"]));
    assert_eq!(done(ocs(&server, "root", "GET", "users/carl/subadmins", "")).await.1, json!(["staff"]));
    assert_eq!(done(ocs(&server, "carl", "GET", "users", "")).await.1["users"], json!(["anna", "bob"]));
    assert_eq!(code(&server, "root", "DELETE", "users/carl/subadmins", "groupid=staff").await, 100);
    assert_eq!(code(&server, "root", "DELETE", "users/carl/subadmins", "groupid=staff").await, 102);
    assert_eq!(code(&server, "carl", "GET", "users", "").await, 403);
    for (path, body, expected) in [
        ("users/nobody/subadmins", "groupid=staff", 101),
        ("users/carl/subadmins", "groupid=nothing", 102),
        ("users/carl/subadmins", "", 102),
        ("users/carl/subadmins", "groupid=admin", 103),
    ] {
        assert_eq!(code(&server, "root", "POST", path, body).await, expected, "{path} {body}");
    }
    assert_eq!(code(&server, "root", "GET", "groups/nothing/subadmins", "").await, 101);
    assert_eq!(done(ocs(&server, "root", "GET", "groups/admin/subadmins", "")).await.1, json!([]));
    assert_eq!(code(&server, "anna", "GET", "groups/staff/subadmins", "").await, 403);
    server.stop().await;
}
