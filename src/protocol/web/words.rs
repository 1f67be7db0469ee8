//! The words of the pages in the reader's language. A catalogue is a file in Fluent's syntax, `locales/LANGUAGE.ftl`, of which one line a message
//! and `{ $name }` are understood; a test holds all of them to the same messages. What is missing nevertheless is shown by its key.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One language.
#[derive(Debug)]
pub struct Words {
    language: &'static str,
    messages: HashMap<&'static str, &'static str>,
}

/// The catalogues; the first is for readers of no known language.
static CATALOGUES: LazyLock<[Words; 2]> = LazyLock::new(|| {
    [Words::parse("en", include_str!("../../../locales/en.ftl")), Words::parse("de", include_str!("../../../locales/de.ftl"))]
});

/// Most entries of `Accept-Language` that are looked at.
const LANGUAGES_MAX: usize = 20;

impl Words {
    /// The words for a reader, by the header `Accept-Language` (RFC 9110 12.5.4).
    pub fn of(accept_language: Option<&str>) -> &'static Words {
        let [first, ..] = &*CATALOGUES;
        let ranges = accept_language.unwrap_or_default().split(',').take(LANGUAGES_MAX).map(|range| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(1.0, |weight| weight.trim().parse::<f32>().unwrap_or(0.0));
            (tag.trim().to_ascii_lowercase(), weight)
        });
        let mut wanted: Vec<_> = ranges.filter(|(_, weight)| *weight > 0.0).collect();
        // Stable: of equal weights the first counts.
        wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
        let known = |tag: &str| CATALOGUES.iter().find(|words| tag.split('-').next() == Some(words.language));
        wanted.iter().find_map(|(tag, _)| known(tag)).unwrap_or(first)
    }

    fn parse(language: &'static str, text: &'static str) -> Words {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Words { language, messages: lines.filter_map(|line| line.split_once(" = ")).collect() }
    }

    /// The tag of the language (BCP 47).
    pub fn language(&self) -> &'static str {
        self.language
    }

    /// A message without anything to fill in.
    pub fn t<'a>(&'a self, key: &'a str) -> &'a str {
        self.messages.get(key).copied().unwrap_or(key)
    }

    /// A message with its gaps filled. The values are text: nothing in them is taken for a gap.
    pub fn f(&self, key: &str, values: &[(&str, &str)]) -> String {
        let mut filled = String::new();
        let mut rest = self.t(key);
        while let Some((before, after)) = rest.split_once("{ $") {
            let (gap, after) = after.split_once(" }").unwrap_or((after, ""));
            filled.push_str(before);
            filled.push_str(values.iter().find(|(name, _)| *name == gap).map_or("", |(_, value)| value));
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[track_caller]
    fn check(header: &str, language: &str) {
        assert_eq!(Words::of(Some(header)).language(), language, "{header}");
    }

    #[test]
    fn rfc9110_the_reader_chooses_the_language() {
        check("de", "de");
        check("de-AT,de;q=0.9,en;q=0.8", "de");
        check("fr, en-GB;q=0.8, de;q=0.7", "en");
        check("en;q=0.5, de;q=0.9", "de");
        check("de;q=0, en", "en");
        check("den, *", "en");
        check("", "en");
        check(";;;q=,", "en");
        assert_eq!(Words::of(None).language(), "en");
    }

    #[test]
    fn gaps_are_filled_once_and_with_text() {
        let words = Words::parse("en", "ask = Add { $name } from { $owner }@{ $server }?\nplain = x = y");
        let filled = words.f("ask", &[("name", "{ $server }"), ("owner", "anna"), ("server", "s")]);
        assert_eq!(filled, "Add { $server } from anna@s?");
        assert_eq!(words.t("plain"), "x = y");
        assert_eq!(words.t("missing"), "missing");
    }

    fn gaps(text: &str) -> BTreeSet<&str> {
        text.split("{ $").skip(1).filter_map(|rest| rest.split(" }").next()).collect()
    }

    #[test]
    fn every_language_says_everything() {
        let [first, others @ ..] = &*CATALOGUES;
        for other in others {
            let keys = |words: &Words| words.messages.keys().copied().collect::<BTreeSet<_>>();
            assert_eq!(keys(first), keys(other), "{}", other.language);
            for (key, text) in &first.messages {
                assert_eq!(gaps(text), gaps(other.t(key)), "{key} in {}", other.language);
                assert!(!other.t(key).trim().is_empty(), "{key} in {}", other.language);
            }
        }
    }

    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_message_that_a_page_names_is_there_and_every_one_is_used() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        for folder in ["templates/web", "src/protocol/web", "src/server/browser"] {
            read(&root.join(folder), &mut text);
        }
        let [first, ..] = &*CATALOGUES;
        let named = [".t(\"", ".f(\""].iter().flat_map(|call| text.split(call).skip(1)).map(|rest| rest.split('"').next().unwrap());
        for key in named.filter(|key| *key != "missing" && *key != "ask" && *key != "plain" && !key.contains(',')) {
            assert!(first.messages.contains_key(key), "{key} stands in no catalogue");
        }
        for key in first.messages.keys() {
            assert!(text.contains(&format!("\"{key}\"")), "nothing shows {key}");
        }
    }
}
