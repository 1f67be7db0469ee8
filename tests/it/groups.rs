//! Groups: commands with and without a running server.

use crate::server_cli::Cli;

/// A group's life, as an administrator drives it.
fn life_of_a_group(cli: &Cli) {
    for user in ["anna", "Bob"] {
        cli.ok(&["user", "add", user, "--password-stdin"], "a password\n");
    }
    assert_eq!(cli.ok(&["group", "add", "Café", "--display-name", "The café"], "").trim(), "group Café added");
    cli.ok(&["group", "add", "others"], "");
    assert!(cli.fails(&["group", "add", "café"], 5).contains("already"), "names are unique ignoring case");
    cli.ok(&["group", "add-member", "Café", "bob"], "");
    let shown = cli.ok(&["group", "add-member", "café", "anna", "--json"], "");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["members"], serde_json::json!(["Bob", "anna"]), "members carry the names of their accounts");
    assert_eq!(shown["display_name"], "The café");
    cli.ok(&["group", "add-member", "Café", "anna"], "");
    cli.ok(&["group", "add-subadmin", "Café", "anna"], "");
    cli.ok(&["group", "add-subadmin", "others", "Bob"], "");
    let listed = cli.ok(&["group", "list"], "");
    assert!(listed.contains("The café") && listed.contains("others"), "{listed}");
    assert!(cli.ok(&["group", "show", "Café"], "").contains("members: Bob anna"));
    cli.ok(&["group", "remove-member", "Café", "anna"], "");
    cli.ok(&["group", "remove-member", "Café", "anna"], "");
    let listed: serde_json::Value = serde_json::from_str(&cli.ok(&["group", "list", "--json"], "")).unwrap();
    assert_eq!(listed[0]["members"], serde_json::json!(["Bob"]));
    assert_eq!(listed[0]["subadmins"], serde_json::json!(["anna"]));
    exit_codes(cli);
    cli.ok(&["user", "remove", "bob"], "");
    let listed: serde_json::Value = serde_json::from_str(&cli.ok(&["group", "list", "--json"], "")).unwrap();
    assert_eq!(listed[0]["members"], serde_json::json!([]), "who is removed leaves the groups");
    assert_eq!(listed[1]["subadmins"], serde_json::json!([]));
    cli.ok(&["group", "remove-subadmin", "Café", "anna"], "");
    cli.ok(&["group", "remove", "Café"], "");
    cli.fails(&["group", "show", "Café"], 3);
    assert!(cli.ok(&["user", "list"], "").contains("anna"), "members stay");
}

fn exit_codes(cli: &Cli) {
    cli.fails(&["group", "add", "a/b"], 2);
    cli.fails(&["group", "add", ""], 2);
    cli.fails(&["group", "add", "c", "--display-name", &"x".repeat(300)], 2);
    cli.fails(&["group", "show", "nothing"], 3);
    cli.fails(&["group", "remove", "nothing"], 3);
    cli.fails(&["group", "add-member", "nothing", "anna"], 3);
    cli.fails(&["group", "add-member", "Café", "nobody"], 3);
}

#[test]
fn groups_work_while_no_server_runs() {
    life_of_a_group(&Cli::new());
}

#[test]
fn groups_work_while_the_server_runs() {
    let cli = Cli::new();
    let serving = cli.serve(&[]);
    life_of_a_group(&cli);
    serving.stop();
}
