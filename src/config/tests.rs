use std::path::Path;

use super::*;

fn layers(text: &str) -> Result<Layers, Error> {
    let mut layers = Layers::defaults();
    layers.toml(text, Path::new("/etc/causeway.toml"))?;
    Ok(layers)
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let error = layers(text).and_then(|layers| Config::from_layers(&layers)).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    refused("lsten = \"127.0.0.1:1\"", "unknown key `lsten` in /etc/causeway.toml; did you mean `listen`?");
    refused("public-url = \"http://a\"", "did you mean `public_url`?");
    let mut layers = Layers::defaults();
    let error = layers.environment([("CAUSEWAY_LOG_LEVL".to_owned(), "info".to_owned())]).unwrap_err();
    assert!(error.to_string().ends_with("did you mean `log_level`?"), "{error}");
}

#[test]
fn variables_of_kubernetes_are_no_keys() {
    let mut layers = Layers::defaults();
    let variables = [("CAUSEWAY_PORT", "tcp://10.0.0.1:80"), ("CAUSEWAY_SERVICE_HOST", "10.0.0.1"), ("HOME", "/root")];
    layers.environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
}

#[test]
fn later_layers_win_and_are_named() {
    let mut layers =
        layers("listen = [\"127.0.0.1:1\", \"[::1]:2\"]\nlog_level = \"warn\"\ntls_cert = \"c.pem\"\ntls_key = \"/k.pem\"").unwrap();
    layers.environment([("CAUSEWAY_LOG_LEVEL".to_owned(), "debug".to_owned())]).unwrap();
    layers.flag("log_level", vec!["error".to_owned()]);
    layers.flag("umask", Vec::new());
    let config = Config::from_layers(&layers).unwrap();
    assert_eq!(config.listen, [Listen::parse("127.0.0.1:1").unwrap(), Listen::parse("[::1]:2").unwrap()]);
    assert_eq!(config.log_level, "error");
    assert_eq!(config.tls.unwrap().certificate, Path::new("/etc/c.pem"), "paths in the file start at its folder");
    let sources: Vec<String> = layers.effective().map(|(key, setting)| format!("{} {}", key.name, setting.source)).collect();
    assert!(sources.contains(&"log_level flag --log-level".to_owned()), "{sources:?}");
    assert!(sources.contains(&"umask default".to_owned()), "{sources:?}");
}

#[test]
fn the_defaults_are_what_tests_and_demo_use() {
    let config = Config::from_layers(&Layers::defaults()).unwrap();
    let plain = Config::for_data("davroot");
    assert_eq!((config.data, config.umask, config.cache_size), (plain.data, plain.umask, plain.cache_size));
    assert_eq!((config.trash, config.versions), (plain.trash, plain.versions));
    assert_eq!(config.client_version, plain.client_version);
    assert_eq!((config.durability, config.log_format, config.connections_max), (plain.durability, plain.log_format, plain.connections_max));
}

#[test]
fn tables_are_parts_of_names() {
    let text = "[trash]\nmax_age = \"7d\"\nmax_share = 10\n[versions]\nmax_age = 0";
    let config = Config::from_layers(&layers(text).unwrap()).unwrap();
    assert_eq!(config.trash, Keep { max_age: 7 * 24 * 3600, max_share: 10 });
    assert!(!config.versions.is_on());
    refused("[trash]\nage = 1", "unknown key `trash_age`");
}

#[test]
fn bad_values_say_what_they_should_be() {
    refused("umask = 27", "is a text in quotes");
    refused("umask = \"99\"", "octal");
    refused("durability = \"fast\"", "is `power-cut` or `process`, not `fast`");
    refused("tls_cert = \"c.pem\"", "without `tls_key`");
    refused("public_url = \"ftp://a\"", "http or https");
    refused("trusted_proxies = [\"10.0.0.0/33\"]", "network");
    refused("cache_size = \"lots\"", "size");
    refused("client_version = \"new\"", "three or four numbers");
    refused("listen = \"unix:socket\"", "absolute");
    refused("trash_max_age = \"30\"", "an age such as");
    refused("versions_max_share = \"101\"", "0 to 100");
    refused("listen", "not valid TOML");
}

#[test]
fn networks_contain_their_addresses() {
    let network = Network::parse("10.0.0.0/8").unwrap();
    assert!(network.contains("10.255.0.1".parse().unwrap()));
    assert!(network.contains("::ffff:10.0.0.1".parse().unwrap()));
    assert!(!network.contains("11.0.0.1".parse().unwrap()));
    assert!(Network::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
    assert!(!Network::parse("::1").unwrap().contains("::2".parse().unwrap()));
    assert!(Network::parse("2001:db8::/32").unwrap().contains("2001:db8:1::1".parse().unwrap()));
}

#[test]
fn signatures_are_off_unless_the_file_or_the_environment_says_otherwise() {
    let mut layers = Layers::defaults();
    assert_eq!(Config::from_layers(&layers).unwrap().signatures, Signing::Off);
    layers.toml("[federation]\nsignatures = \"required\"\n", Path::new("c.toml")).unwrap();
    assert_eq!(Config::from_layers(&layers).unwrap().signatures, Signing::Required);
    layers.environment([("CAUSEWAY_FEDERATION_SIGNATURES".to_owned(), "on".to_owned())]).unwrap();
    assert_eq!(Config::from_layers(&layers).unwrap().signatures, Signing::On);
    layers.environment([("CAUSEWAY_FEDERATION_SIGNATURES".to_owned(), "yes".to_owned())]).unwrap();
    assert!(Config::from_layers(&layers).unwrap_err().to_string().contains("`off`, `on` or `required`"));
}
