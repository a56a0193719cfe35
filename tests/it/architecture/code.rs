//! Source files without what is not code: comments and the contents of literals blanked, test code told apart.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One file of `src/` or `tests/`.
pub struct SourceFile {
    /// `src/store/mod.rs`.
    pub path: String,
    /// As written.
    pub text: String,
    /// Comments and literals blanked, byte for byte, so that positions agree with `text`.
    pub code: String,
    /// The parts of `code` which only tests see.
    test_parts: Vec<Range<usize>>,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let test_parts = if is_test_file(path) { std::iter::once(0..code.len()).collect() } else { test_parts(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, test_parts }
    }

    /// `store` for `src/store/mod.rs`, `runtime` for `src/runtime.rs`; none outside of the library.
    pub fn folder(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        (below != "main.rs" && below != "lib.rs").then(|| first.strip_suffix(".rs").unwrap_or(first))
    }

    /// How many modules deep the file is: 1 for `src/store/mod.rs` and `src/runtime.rs`, 2 for `src/store/rows.rs`.
    pub fn depth(&self) -> usize {
        let components = self.path.split('/').count() - 1;
        if self.path.ends_with("/mod.rs") { components - 1 } else { components }
    }

    pub fn is_test_code(&self, position: usize) -> bool {
        self.test_parts.iter().any(|part| part.contains(&position))
    }

    /// `path:line`, for messages.
    pub fn place(&self, position: usize) -> String {
        format!("{}:{}", self.path, self.code[..position].matches('\n').count() + 1)
    }

    /// Matches of `pattern` in code that is not only for tests.
    pub fn find<'a>(&'a self, pattern: &'a regex::Regex) -> impl Iterator<Item = regex::Match<'a>> {
        pattern.find_iter(&self.code).filter(|found| !self.is_test_code(found.start()))
    }
}

/// Every Rust file of the library, the binary and the tests.
pub fn house() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(root, &root.join(folder), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("directory entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source file");
            let relative = path.strip_prefix(root).expect("below the root").to_str().expect("utf-8 path");
            files.push(SourceFile::new(relative, &text));
        }
    }
}

fn is_test_file(path: &str) -> bool {
    !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// What stands behind `#[cfg(test)]`: an item with its block, or up to its semicolon.
fn test_parts(code: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let mut depth = 0_usize;
        let length = code[start..]
            .char_indices()
            .find_map(|(offset, c)| {
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                (depth == 0 && (c == '}' || c == ';')).then_some(offset + 1)
            })
            .unwrap_or(code.len() - start);
        parts.push(start..start + length);
        from = start + length;
    }
    parts
}

/// Blanks comments, strings and characters; newlines and lengths stay.
fn blank(text: &str) -> String {
    let literal = regex::Regex::new(concat!(
        r##"(?s)//[^\n]*"##,      // line comment
        r##"|/\*.*?\*/"##,        // block comment (not nested: there is none)
        r###"|\bb?r##".*?"##"###, // raw strings
        r##"|\bb?r#".*?"#"##,
        r##"|\bb?r".*?""##,
        r##"|b?"(?:[^"\\]|\\.)*""##,            // string
        r##"|b?'(?:[^'\\\n]|\\[^\n]{1,8}?)'"##, // character; a lifetime has no closing quote
    ))
    .expect("pattern");
    let blanked = |found: &regex::Captures<'_>| -> String {
        found[0].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
    };
    literal.replace_all(text, blanked).into_owned()
}

#[test]
fn comments_and_literals_are_blanked_and_lifetimes_are_not() {
    let blanked = blank("let a = \"x::y \\\" z\"; // unwrap()\nfn f<'a>(c: &'a str) { g('\"', r#\"cr\"ate\"#) }");
    assert_eq!(
        blanked.len(),
        "let a = \"x::y \\\" z\"; // unwrap()\nfn f<'a>(c: &'a str) { g('\"', r#\"cr\"ate\"#) }".len()
    );
    assert!(!blanked.contains("x::y") && !blanked.contains("unwrap") && !blanked.contains("ate"), "{blanked}");
    assert!(blanked.contains("fn f<'a>(c: &'a str) { g("), "{blanked}");
}

#[test]
fn depth_counts_modules() {
    let depth = |path| SourceFile::new(path, "").depth();
    assert_eq!(depth("src/runtime.rs"), 1);
    assert_eq!(depth("src/store/mod.rs"), 1);
    assert_eq!(depth("src/store/rows.rs"), 2);
    assert_eq!(depth("src/store/queries/mod.rs"), 2);
    assert_eq!(depth("src/store/queries/volume.rs"), 3);
}
