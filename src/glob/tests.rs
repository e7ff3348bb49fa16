//! Tests of globs: by table, and against a naive matcher.

use super::*;
use proptest::prelude::*;

#[test]
fn globs_match_as_documented() {
    let table: [(&str, &[&str], &[&str]); 20] = [
        (
            "*.cbz",
            &["a.cbz", "x/y/a.cbz", ".cbz"],
            &["a.cbr", "a.cbz/b", "a.CBZ"],
        ),
        ("/*.cbz", &["a.cbz"], &["x/a.cbz"]),
        ("**/*.cbz", &["a.cbz", "x/y/a.cbz"], &["a.cbz/x"]),
        (
            "drafts/**",
            &["drafts/a", "drafts/a/b"],
            &["drafts", "x/drafts/a", "drafts2/a"],
        ),
        (
            "drafts/",
            &["drafts/a", "x/drafts/a/b"],
            &["drafts", "drafts2/a"],
        ),
        (
            "a/**/b",
            &["a/b", "a/x/b", "a/x/y/b"],
            &["ab", "a/xb", "a/x/yb", "a/b/c"],
        ),
        ("**", &["a", "a/b"], &[]),
        ("a**b", &["ab", "axxb"], &["a/b"]),
        ("a?c", &["abc", "aäc", "x/a-c"], &["ac", "a/c", "abbc"]),
        ("[a-c]x", &["ax", "cx"], &["dx", "x", "aax"]),
        ("[!a-c]x", &["dx", "ßx"], &["ax", "a/x/y"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[ä-ü]", &["ö"], &["o"]),
        ("{a,b}.txt", &["a.txt", "x/b.txt"], &["c.txt", "ab.txt"]),
        (
            "*.{jp{,e}g,png}",
            &["a.jpg", "a.jpeg", "x/a.png"],
            &["a.jp", "a.gif"],
        ),
        ("{a/b,c}/d", &["a/b/d", "c/d"], &["d", "x/c/d"]),
        ("{a,b/**}", &["a", "b/x/y"], &["b", "c"]),
        (r"\*\[\{\\", &["*[{\\"], &["x[{\\"]),
        ("a,b", &["a,b"], &["a", "b"]),
    ];
    for (text, yes, no) in table {
        let glob = Glob::parse(text).unwrap();
        for path in yes {
            assert!(glob.matches(path.as_bytes()), "{text} matches {path}");
        }
        for path in no {
            assert!(
                !glob.matches(path.as_bytes()),
                "{text} does not match {path}"
            );
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_a_character_each() {
    assert!(Glob::parse("a?b").unwrap().matches(b"a\xffb"));
    assert!(Glob::parse("a*b").unwrap().matches(b"a\xff\xfeb"));
    assert!(Glob::parse("[!x]").unwrap().matches(b"\xff"));
    assert!(!Glob::parse("?").unwrap().matches(b"\xff\xfe"));
}

#[test]
fn what_does_not_parse_is_told_with_its_position() {
    for (text, position, part) in [
        ("", 1, "not empty"),
        ("ab[c", 3, "`[` without `]`"),
        ("ä{b", 2, "`{` without `}`"),
        ("a}", 2, "`}` without `{`"),
        ("a\\", 2, "nothing follows"),
        ("[z-a]", 4, "wrong way round"),
        ("[a/]", 3, "cannot match `/`"),
        ("a//b", 4, "a component is empty"),
        ("../b", 1, "relative to their folder"),
        ("a\0", 2, "NUL"),
    ] {
        let error = Glob::parse(text).unwrap_err();
        assert_eq!(error.position, position, "{text:?}: {error}");
        assert!(error.message.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn what_would_cost_too_much_is_refused() {
    for text in [
        "{a,b}".repeat(9),
        format!("{{{}}}", "a,".repeat(300)),
        format!("{}{}", "{a,b}".repeat(8), "x".repeat(100)),
        "{".repeat(100) + &"}".repeat(100),
        "x".repeat(5000),
    ] {
        let error = Glob::parse(&text).unwrap_err();
        assert!(error.message.contains("too"), "{text}: {error}");
    }
}

#[test]
fn many_stars_do_not_explode() {
    let glob = Glob::parse(&("a*".repeat(50) + "b")).unwrap();
    // Backtracking would try more ways than there are atoms; linear time is not noticed.
    assert!(!glob.matches(&[b'a'; 4000]));
}

/// The obvious matcher, for globs without braces, sets and escapes: slow and easily right.
fn naive(glob: &str, path: &str) -> bool {
    let (glob, anchored) = match glob.strip_prefix('/') {
        Some(rest) => (rest.to_owned(), true),
        None => (glob.to_owned(), glob.trim_end_matches('/').contains('/')),
    };
    let glob = match glob.strip_suffix('/') {
        Some(directory) => format!("{directory}/**"),
        None => glob,
    };
    let glob = if anchored { glob } else { format!("**/{glob}") };
    let glob: Vec<&str> = glob.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    components(&glob, &path)
}

fn components(glob: &[&str], path: &[&str]) -> bool {
    match glob {
        [] => path.is_empty(),
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skip| components(rest, &path[skip..])),
        [first, rest @ ..] => {
            let [name, below @ ..] = path else {
                return false;
            };
            let first: Vec<char> = first.chars().collect();
            let name: Vec<char> = name.chars().collect();
            letters(&first, &name) && components(rest, below)
        }
    }
}

fn letters(glob: &[char], name: &[char]) -> bool {
    match glob {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skip| letters(rest, &name[skip..])),
        ['?', rest @ ..] => !name.is_empty() && letters(rest, &name[1..]),
        [letter, rest @ ..] => name.first() == Some(letter) && letters(rest, &name[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_agrees_with_the_naive_matcher(
        glob in "/?([ab?*]{1,3}|\\*\\*)(/([ab?*]{1,3}|\\*\\*)){0,3}/?",
        path in "[abä]{1,3}(/[abä]{1,3}){0,3}",
    ) {
        let parsed = Glob::parse(&glob).unwrap();
        prop_assert_eq!(parsed.matches(path.as_bytes()), naive(&glob, &path));
    }

    #[test]
    fn braces_match_what_their_alternatives_match(
        before in "[a*/]{0,2}x", choices in proptest::collection::vec("[ab*?]{0,2}", 1..4),
        after in "x[b*?]{0,2}", path in "[abx]{1,4}(/[abx]{1,4})?",
    ) {
        let braces = Glob::parse(&format!("{before}{{{}}}{after}", choices.join(",")));
        let each: Result<Vec<_>, _> = choices.iter()
            .map(|choice| Glob::parse(&format!("{before}{choice}{after}")))
            .collect();
        prop_assert_eq!(braces.is_ok(), each.is_ok());
        if let (Ok(braces), Ok(each)) = (braces, each) {
            let any = each.iter().any(|glob| glob.matches(path.as_bytes()));
            prop_assert_eq!(braces.matches(path.as_bytes()), any);
        }
    }

    #[test]
    fn a_path_with_every_sign_escaped_matches_itself(path in "[^/\0]{1,9}") {
        prop_assume!(path != "." && path != "..");
        let escaped: String = path.chars().flat_map(|sign| ['\\', sign]).collect();
        prop_assert!(Glob::parse(&escaped).unwrap().matches(path.as_bytes()));
    }

    #[test]
    fn nothing_makes_it_panic(
        glob in prop_oneof![".*", "[a\\[\\]{},!^*?/\\\\-]{0,20}"],
        path in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        if let Ok(glob) = Glob::parse(&glob) {
            let below = [&path[..], b"/", b"x"].concat();
            let all = glob.matches_all_below(&path);
            prop_assert!(!all || glob.matches(&below));
        }
    }
}
