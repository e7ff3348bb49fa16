//! The **configuration file**: TOML in, typed values with their lines out.
//!
//! The tree is walked by hand, not by serde, because serde stops at the first error: here every
//! key that is unknown and every value of a wrong type is a complaint with its line.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaint::{At, Complaints, Place, did_you_mean};

/// What the file says; whatever it leaves out is `None` or empty.
#[derive(Debug, Default)]
pub(super) struct FileConfig {
    pub(super) listen: Option<At<Vec<At<String>>>>,
    pub(super) log_level: Option<At<String>>,
    pub(super) log_file: Option<At<String>>,
    pub(super) folders: Vec<FileFolder>,
    pub(super) automatic: Option<bool>,
    pub(super) workers: Option<At<i64>>,
    pub(super) processors: Vec<FileProcessor>,
    pub(super) poll_s: Option<At<i64>>,
    pub(super) allow: Option<At<Vec<At<String>>>>,
    pub(super) hosts: Vec<At<String>>,
    pub(super) token: Option<At<String>>,
    pub(super) clients: Option<At<i64>>,
    pub(super) clients_per_address: Option<At<i64>>,
}

/// One `[[folder]]`.
#[derive(Debug)]
pub(super) struct FileFolder {
    pub(super) path: Option<At<String>>,
    pub(super) name: Option<At<String>>,
    pub(super) include: Vec<At<String>>,
    pub(super) ignore: Vec<At<String>>,
}

/// One `[[processor]]`.
#[derive(Debug)]
pub(super) struct FileProcessor {
    pub(super) name: Option<At<String>>,
    pub(super) matches: Vec<At<String>>,
    pub(super) command: Option<At<Vec<At<String>>>>,
    pub(super) timeout_s: Option<At<i64>>,
}

/// Reads the text of a file; complaints name it as `file`.
pub(super) fn read(file: &Path, text: &str, complaints: &mut Complaints) -> FileConfig {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        file: file.to_owned(),
        line_starts: line_starts(text),
        complaints,
    };
    for error in &errors {
        let place = reader.place(error.span().map_or(0, |span| span.start), "");
        // The parser names what it expected on lines of its own.
        let message = error.message().trim().replace('\n', ", ");
        reader
            .complaints
            .add(&place, format!("this is not TOML: {message}"));
    }
    if !errors.is_empty() {
        // What a broken document still holds is a guess: complaints about it would mislead.
        return FileConfig::default();
    }
    reader.document(document.get_ref())
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    [0].into_iter()
        .chain(breaks.map(|(at, _)| at + 1))
        .collect()
}

type Value<'i> = Spanned<DeValue<'i>>;

struct Reader<'c> {
    file: PathBuf,
    line_starts: Vec<usize>,
    complaints: &'c mut Complaints,
}

/// One table, the keys that it may hold, and what its keys are called in complaints.
#[derive(Clone, Copy)]
struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    prefix: &'static str,
}

impl<'t, 'i> Section<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Value<'i>> {
        self.table.get(key)
    }

    fn name(&self, key: &str) -> String {
        match self.prefix {
            "" => key.to_owned(),
            prefix => format!("{prefix}.{key}"),
        }
    }
}

impl Reader<'_> {
    fn document(&mut self, table: &DeTable<'_>) -> FileConfig {
        let root = Section { table, prefix: "" };
        self.known(
            root,
            &[
                "listen",
                "log_level",
                "log_file",
                "folder",
                "processing",
                "processor",
                "watch",
                "access",
                "limits",
            ],
        );
        let mut config = FileConfig {
            listen: self.strings(root, "listen"),
            log_level: self.string(root, "log_level"),
            log_file: self.string(root, "log_file"),
            ..FileConfig::default()
        };
        for (section, place) in self.tables(root, "folder") {
            self.known(section, &["path", "name", "include", "ignore"]);
            config.folders.push(FileFolder {
                path: self.required(section, "path", &place, Self::string),
                name: self.string(section, "name"),
                include: self.texts(section, "include"),
                ignore: self.texts(section, "ignore"),
            });
        }
        if let Some(section) = self.table(root, "processing") {
            self.known(section, &["automatic", "workers"]);
            config.automatic = self.boolean(section, "automatic");
            config.workers = self.integer(section, "workers");
        }
        for (section, place) in self.tables(root, "processor") {
            self.known(section, &["name", "match", "command", "timeout_s"]);
            config.processors.push(FileProcessor {
                name: self.required(section, "name", &place, Self::string),
                matches: self.texts(section, "match"),
                command: self.required(section, "command", &place, Self::strings),
                timeout_s: self.integer(section, "timeout_s"),
            });
        }
        if let Some(section) = self.table(root, "watch") {
            self.known(section, &["poll_s"]);
            config.poll_s = self.integer(section, "poll_s");
        }
        if let Some(section) = self.table(root, "access") {
            self.known(section, &["allow", "hosts", "token"]);
            config.allow = self.strings(section, "allow");
            config.hosts = self.texts(section, "hosts");
            config.token = self.string(section, "token");
        }
        if let Some(section) = self.table(root, "limits") {
            self.known(section, &["clients", "clients_per_address"]);
            config.clients = self.integer(section, "clients");
            config.clients_per_address = self.integer(section, "clients_per_address");
        }
        config
    }

    fn place(&self, at: usize, key: impl Into<String>) -> Place {
        Place::File {
            file: self.file.clone(),
            line: Some(self.line_starts.partition_point(|start| *start <= at)),
            key: key.into(),
        }
    }

    /// Complains of keys that mean nothing here.
    fn known(&mut self, section: Section<'_, '_>, known: &[&str]) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let place = self.place(key.span().start, section.name(name));
                let nearest = did_you_mean(name, known);
                let all = match nearest.is_empty() {
                    true => format!(" (known here: {})", known.join(", ")),
                    false => String::new(),
                };
                self.complaints
                    .add(&place, format!("unknown key{nearest}{all}"));
            }
        }
    }

    fn required<'t, 'i, T>(
        &mut self,
        section: Section<'t, 'i>,
        key: &str,
        table: &Place,
        read: fn(&mut Self, Section<'t, 'i>, &str) -> Option<T>,
    ) -> Option<T> {
        if section.get(key).is_none() {
            let message = format!("`{key}` is missing: add a line `{key} = …`");
            self.complaints.add(table, message);
        }
        read(self, section, key)
    }

    fn wrong_type(&mut self, value: &Value<'_>, name: &str, wanted: &str) {
        let place = self.place(value.span().start, name);
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.complaints
            .add(&place, format!("expected {wanted}, found {found}"));
    }

    fn string(&mut self, section: Section<'_, '_>, key: &str) -> Option<At<String>> {
        let value = section.get(key)?;
        self.text(value, &section.name(key), "text in quotes")
    }

    fn text(&mut self, value: &Value<'_>, name: &str, wanted: &str) -> Option<At<String>> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(value, name, wanted);
            return None;
        };
        let place = self.place(value.span().start, name);
        if text.contains('\0') {
            self.complaints
                .add(&place, "holds a NUL character: remove it");
            return None;
        }
        Some(At {
            value: text.clone().into_owned(),
            place,
        })
    }

    fn strings(&mut self, section: Section<'_, '_>, key: &str) -> Option<At<Vec<At<String>>>> {
        let value = section.get(key)?;
        let name = section.name(key);
        let wanted = "a list of texts: [\"…\", \"…\"]";
        let DeValue::Array(values) = value.get_ref() else {
            self.wrong_type(value, &name, wanted);
            return None;
        };
        let texts = values
            .iter()
            .filter_map(|value| self.text(value, &name, wanted));
        let texts: Vec<_> = texts.collect();
        // A list with a hole in it was complained of, and is not judged further.
        (texts.len() == values.len()).then(|| At {
            value: texts,
            place: self.place(value.span().start, name),
        })
    }

    fn texts(&mut self, section: Section<'_, '_>, key: &str) -> Vec<At<String>> {
        self.strings(section, key)
            .map_or_else(Vec::new, |at| at.value)
    }

    fn boolean(&mut self, section: Section<'_, '_>, key: &str) -> Option<bool> {
        let value = section.get(key)?;
        let DeValue::Boolean(boolean) = value.get_ref() else {
            self.wrong_type(value, &section.name(key), "true or false without quotes");
            return None;
        };
        Some(*boolean)
    }

    fn integer(&mut self, section: Section<'_, '_>, key: &str) -> Option<At<i64>> {
        let value = section.get(key)?;
        let name = section.name(key);
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(value, &name, "a whole number without quotes");
            return None;
        };
        let place = self.place(value.span().start, name);
        let digits = integer.as_str().replace('_', "");
        match i64::from_str_radix(&digits, integer.radix()) {
            Ok(value) => Some(At { value, place }),
            Err(_) => {
                self.complaints.add(&place, "the number is out of range");
                None
            }
        }
    }

    fn table<'t, 'i>(
        &mut self,
        section: Section<'t, 'i>,
        key: &'static str,
    ) -> Option<Section<'t, 'i>> {
        let value = section.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(value, key, &format!("a section: [{key}]"));
            return None;
        };
        Some(Section { table, prefix: key })
    }

    fn tables<'t, 'i>(
        &mut self,
        section: Section<'t, 'i>,
        key: &'static str,
    ) -> Vec<(Section<'t, 'i>, Place)> {
        let Some(value) = section.get(key) else {
            return Vec::new();
        };
        let wanted = format!("sections with two brackets each: [[{key}]]");
        let DeValue::Array(values) = value.get_ref() else {
            self.wrong_type(value, key, &wanted);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for value in values {
            match value.get_ref() {
                DeValue::Table(table) => sections.push((
                    Section { table, prefix: key },
                    self.place(value.span().start, key),
                )),
                _ => self.wrong_type(value, key, &wanted),
            }
        }
        sections
    }
}
