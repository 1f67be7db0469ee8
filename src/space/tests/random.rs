//! Long runs of random changes, from inside and outside, against a simple model.
use std::collections::BTreeMap;

use super::*;

/// A small generator with a fixed seed, so that a failure happens again (PCG's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        (0..depth).map(|_| ["a", "b", "c"][self.below(3)]).collect::<Vec<_>>().join("/")
    }
}

/// Content of files, or none for a collection, by path.
type Model = BTreeMap<String, Option<String>>;

fn below<'a>(model: &'a Model, path: &str) -> Vec<(&'a String, &'a Option<String>)> {
    let inside = format!("{path}/");
    model.iter().filter(|(key, _)| *key == path || key.starts_with(&inside)).collect()
}

fn is_folder(model: &Model, path: &str) -> bool {
    path.is_empty() || model.get(path) == Some(&None)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn remove(model: &mut Model, path: &str) {
    let keys: Vec<String> = below(model, path).into_iter().map(|(key, _)| key.clone()).collect();
    keys.iter().for_each(|key| drop(model.remove(key)));
}

/// The model of MOVE and COPY; false if it must be refused.
fn transfer(model: &mut Model, from: &str, to: &str, keep: bool) -> bool {
    let nested = format!("{to}/").starts_with(&format!("{from}/")) || format!("{from}/").starts_with(&format!("{to}/"));
    if !model.contains_key(from) || nested || !is_folder(model, parent(to)) {
        return false;
    }
    let moved: Vec<(String, Option<String>)> =
        below(model, from).into_iter().map(|(key, value)| (format!("{to}{}", key.strip_prefix(from).unwrap()), value.clone())).collect();
    if !keep {
        remove(model, from);
    }
    remove(model, to);
    model.extend(moved);
    true
}

async fn step(home: &Home, model: &mut Model, random: &mut Random, number: usize) {
    let (path, other) = (random.path(), random.path());
    match random.below(8) {
        0 | 1 => {
            let allowed = is_folder(model, parent(&path)) && !is_folder(model, &path);
            assert_eq!(home.put(&path, &format!("text {number}")).await.is_ok(), allowed, "put {path}");
            if allowed {
                model.insert(path, Some(format!("text {number}")));
            }
        }
        2 => {
            let allowed = is_folder(model, parent(&path)) && !model.contains_key(&path);
            assert_eq!(home.mkcol(&path).await.is_ok(), allowed, "mkcol {path}");
            if allowed {
                model.insert(path, None);
            }
        }
        3 => {
            assert_eq!(home.delete(&path).await.is_ok(), model.contains_key(&path), "delete {path}");
            remove(model, &path);
        }
        4 => {
            let allowed = transfer(model, &path, &other, false);
            assert_eq!(home.rename(&path, &other).await.is_ok(), allowed, "rename {path} to {other}");
        }
        5 => {
            let allowed = transfer(model, &path, &other, true);
            assert_eq!(home.copy(&path, &other).await.is_ok(), allowed, "copy {path} to {other}");
        }
        6 => {
            // Somebody at the server itself.
            if is_folder(model, parent(&path)) && !is_folder(model, &path) {
                std::fs::write(home.disk(&path), format!("from outside {number}")).unwrap();
                model.insert(path, Some(format!("from outside {number}")));
            }
        }
        _ => {
            if model.contains_key(&path) && !model.contains_key(&other) && transfer(model, &path, &other, false) {
                std::fs::rename(home.disk(&path), home.disk(&other)).unwrap();
            }
        }
    }
}

async fn compare(home: &Home, model: &Model) {
    home.spaces.scan(SPACE).await.unwrap();
    home.check().await;
    for (path, content) in model {
        match content {
            Some(content) => assert_eq!(&home.read(path).await.unwrap(), content, "{path}"),
            None => assert!(home.node(path).await.unwrap().is_collection(), "{path}"),
        }
    }
    let files: u64 = model.values().flatten().map(|content| content.len() as u64).sum();
    assert_eq!(home.node("").await.unwrap().size, files);
}

#[tokio::test]
async fn random_changes_end_where_a_simple_model_ends() {
    for seed in 0..4 {
        let mut home = Home::new();
        let mut model = Model::new();
        let mut random = Random(seed);
        for number in 0..150 {
            step(&home, &mut model, &mut random, number).await;
            if number % 30 == 29 {
                compare(&home, &model).await;
            }
            if number % 75 == 74 {
                home = home.reopen(None);
                compare(&home, &model).await;
            }
        }
    }
}

/// Everybody at once, without looking at what the others do.
async fn wild(home: &Home, random: &mut Random, writer: usize) {
    for number in 0..60 {
        let (path, other) = (random.path(), random.path());
        // Refusals are as right as successes here: only what is left counts.
        match random.below(9) {
            0..=2 => drop(home.put(&path, &format!("{writer} {number}")).await),
            3 => drop(home.mkcol(&path).await),
            4 => drop(home.delete(&path).await),
            5 => drop(home.rename(&path, &other).await),
            6 => drop(home.copy(&path, &other).await),
            7 => drop(home.space.list(&at(&path)).await),
            _ => {
                if let Ok((node, file)) = home.space.open(&at(&path)).await {
                    // None: somebody outside made it shorter in this very moment.
                    if let Some(bytes) = file.read_small().await {
                        assert_eq!(bytes.len() as u64, node.size);
                    }
                }
            }
        }
        if writer == 0 && number % 5 == 0 && std::fs::metadata(home.disk(&path)).is_ok_and(|metadata| metadata.is_file()) {
            std::fs::write(home.disk(&path), format!("outside {number}")).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_at_once_rows_and_files_agree_afterwards() {
    for seed in 0..3 {
        let home = Arc::new(Home::new());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..12 {
            let home = Arc::clone(&home);
            writers.spawn(async move { wild(&home, &mut Random(seed * 100 + writer as u64), writer).await });
        }
        while let Some(writer) =
            tokio::time::timeout(std::time::Duration::from_secs(120), writers.join_next()).await.expect("a writer hangs")
        {
            writer.unwrap();
        }
        home.spaces.scan(SPACE).await.unwrap();
        home.check().await;
        let before = home.node("").await.unwrap();
        let home = Arc::into_inner(home).unwrap().reopen(None);
        home.check().await;
        assert_eq!(home.node("").await.unwrap(), before);
    }
}
