//! Embeds the page: joins its modules, names each asset after its content, compresses it, and
//! writes the table that `page` answers from. Also tells the crate its commit and target.
//!
//! The sources are plain modules that run in a browser as they are. They are joined into one file
//! a program, the page and the worker, because a request a module is too many for a small box.

#![expect(
    clippy::unwrap_used,
    reason = "a build script tells its troubles by stopping the build"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Where the sources of the page are, below the crate.
const SOURCES: &str = "src/page";

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    describe_build();
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let mut page = Page {
        out,
        names: BTreeMap::new(),
        table: String::from("&[\n"),
    };
    for icon in ["icon.svg", "icon-180.png", "icon-192.png", "icon-512.png"] {
        page.asset(icon, fs::read(source(&format!("icons/{icon}"))).unwrap());
    }
    page.asset("style.css", fs::read(source("style.css")).unwrap());
    page.asset("worker.js", join("worker.js").into_bytes());
    page.asset("main.js", join("main.js").into_bytes());
    // These keep their names, and so refer to the others by theirs.
    page.document("", "index.html");
    page.document("manifest.webmanifest", "manifest.webmanifest");
    page.table.push(']');
    fs::write(page.out.join("page.rs"), page.table).unwrap();
}

fn source(name: &str) -> PathBuf {
    Path::new(SOURCES).join(name)
}

/// What was built, and for what, so that `--version` can say it.
fn describe_build() {
    println!("cargo:rerun-if-env-changed=SHELFCAST_COMMIT");
    for file in [".git/HEAD", ".git/refs/heads", ".git/packed-refs"] {
        if Path::new(file).exists() {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    let commit = env::var("SHELFCAST_COMMIT")
        .ok()
        .or_else(head)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=SHELFCAST_COMMIT={commit}");
    let target = env::var("TARGET").unwrap();
    println!("cargo:rustc-env=SHELFCAST_TARGET={target}");
}

/// The commit that is checked out, where there is a git and a repository.
fn head() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}

struct Page {
    out: PathBuf,
    /// Name of an asset to the address that it is served by.
    names: BTreeMap<String, String>,
    table: String,
}

impl Page {
    /// Adds a file under a name that holds its hash: what has that name never changes.
    fn asset(&mut self, name: &str, content: Vec<u8>) {
        let (stem, extension) = name.rsplit_once('.').unwrap();
        let hash = &blake3::hash(&content).to_hex()[..12];
        let address = format!("assets/{stem}.{hash}.{extension}");
        self.names.insert(name.to_owned(), address.clone());
        self.embed(&address, name, content);
    }

    /// Adds a file under a fixed address, with `{{name}}` replaced by the address of that asset.
    fn document(&mut self, address: &str, name: &str) {
        let mut text = fs::read_to_string(source(name)).unwrap();
        for (asset, address) in &self.names {
            text = text.replace(&format!("{{{{{asset}}}}}"), address);
        }
        assert!(
            !text.contains("{{"),
            "{name} names an asset that is not there"
        );
        self.embed(address, name, text.into_bytes());
    }

    fn embed(&mut self, address: &str, name: &str, content: Vec<u8>) {
        let plain = self.out.join(name);
        let packed = self.out.join(format!("{name}.gz"));
        let hash = &blake3::hash(&content).to_hex()[..16];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&content).unwrap();
        let gzipped = gzip.finish().unwrap();
        // What is compressed already (icons) is embedded once.
        let pays = gzipped.len() < content.len() * 9 / 10;
        fs::write(&plain, &content).unwrap();
        fs::write(&packed, gzipped).unwrap();
        let packed = if pays {
            format!("Some(include_bytes!({packed:?}))")
        } else {
            "None".to_owned()
        };
        writeln!(
            self.table,
            "    File {{ address: {address:?}, hash: {hash:?}, plain: include_bytes!({plain:?}), gzip: {packed} }},"
        )
        .unwrap();
    }
}

/// Joins a module and all that it imports into one file, each before who needs it. Every module
/// keeps a scope of its own: it becomes a function that returns what it exports.
fn join(entry: &str) -> String {
    let mut joined = String::new();
    visit(entry, &mut Vec::new(), &mut Vec::new(), &mut joined);
    joined
}

fn visit(name: &str, path: &mut Vec<String>, done: &mut Vec<String>, joined: &mut String) {
    if done.iter().any(|other| other == name) {
        return;
    }
    assert!(
        !path.iter().any(|other| other == name),
        "{name} imports itself"
    );
    path.push(name.to_owned());
    let text = fs::read_to_string(source("js").join(name)).unwrap();
    let (mut body, mut exports) = (String::new(), Vec::new());
    for line in code(&text) {
        assert!(
            line.matches('`').count() % 2 == 0,
            "{name}: a text over several lines: {line}"
        );
        if let Some(import) = line.strip_prefix("import ") {
            let (what, from) = parse_import(import)
                .unwrap_or_else(|| panic!("{name}: this form is not joined: {line}"));
            visit(from, path, done, joined);
            writeln!(body, "const {what} = {};", scope(from)).unwrap();
        } else if let Some(declaration) = line.strip_prefix("export ") {
            exports.push(
                declared(declaration)
                    .unwrap_or_else(|| panic!("{name}: this form is not joined: {line}")),
            );
            writeln!(body, "{declaration}").unwrap();
        } else {
            writeln!(body, "{line}").unwrap();
        }
    }
    let exports = exports.join(", ");
    writeln!(
        joined,
        "const {} = (() => {{\n{body}return {{ {exports} }};\n}})();",
        scope(name)
    )
    .unwrap();
    path.pop();
    done.push(name.to_owned());
}

/// The lines that do something, without their indentation: comments are for who reads the sources.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut comment = false;
    text.lines().map(str::trim).filter(move |line| {
        let within = comment || line.starts_with("/**");
        comment = within && !line.ends_with("*/");
        !within && !line.is_empty() && !line.starts_with("//")
    })
}

/// `{ a, b } from "./x.js";` or `* as x from "./x.js";`: the pattern and the file.
fn parse_import(import: &str) -> Option<(&str, &str)> {
    let (what, from) = import.split_once(" from \"./")?;
    let what = match what.strip_prefix("* as ") {
        Some(all) => all,
        // Renaming would need another spelling here.
        None => (!what.contains(" as ")).then_some(what)?,
    };
    Some((what, from.strip_suffix("\";")?))
}

/// The name that a declaration declares.
fn declared(declaration: &str) -> Option<&str> {
    let rest = ["const ", "function ", "async function ", "class "]
        .into_iter()
        .find_map(|start| declaration.strip_prefix(start))?;
    rest.split([' ', '(', '=']).next()
}

/// The variable that holds what a module exports.
fn scope(name: &str) -> String {
    format!("${}", name.trim_end_matches(".js"))
}
