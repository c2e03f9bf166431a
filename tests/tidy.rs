//! The rules of the house that a program can check: the top level, what may depend on what, sizes, words, formatting, and
//! that the machines need nothing of the kernel's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The top level of the repository, dot-files aside.
const TOP_LEVEL: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", "src", "flatbuffers", "bench", "loadgen", "tests", "tuning", "README.md"];
/// Rooms (and the paths in them, where not all of one) that a room may use besides itself. `cli` and `main` may use all.
const LAYERS: [(&str, &[&str]); 15] = [
    ("types", &[]),
    ("wire", &["types"]),
    ("flat", &["types"]),
    ("config", &["types", "wire::codec"]),
    ("journal", &["types", "flat", "wire::batch", "wire::compression", "wire::crc", "wire::error"]),
    ("log", &["types", "flat", "wire::batch", "wire::compression", "wire::crc", "wire::error"]),
    ("replica", &["types", "flat", "wire"]),
    ("raft", &["types", "flat", "wire"]),
    ("metadata", &["types", "flat", "wire"]),
    ("group", &["types", "flat", "wire"]),
    ("txn", &["types", "flat", "wire"]),
    ("client", &["types", "wire"]),
    ("shard", &["types", "flat", "wire", "config", "journal", "log", "replica", "raft", "metadata", "group", "txn"]),
    ("shell", &["types", "wire::frame", "config", "shard"]),
    ("cli", &["types", "flat", "wire", "config", "journal", "log", "metadata", "group", "client", "shard", "shell"]),
];
/// What `shell` may use of the machines besides: what they hand out to be written, and what they read back from a drive.
/// No machine's whole state is among it but the controller's, which is moved to its core once.
const LAYERS_SHELL: [(&str, &str); 26] = [
    ("journal::ALIGNMENT", "the unit of direct I/O"),
    ("journal::FileIndex", "which journal file"),
    ("journal::BlockWrite", "bytes to write, and where"),
    ("journal::HEAD_BYTES", "what a start shows of each journal file"),
    ("journal::Wanted", "bytes to read, and where"),
    ("log::Close", "the closed segment's files"),
    ("log::Flush", "bytes to write, and where"),
    ("log::SegmentId", "names of a segment's files"),
    ("log::appender", "how batches get to a file's end"),
    ("log::directory", "whose a partition's directory is, and who is in it"),
    ("log::handles", "which files stay open"),
    ("log::reading", "which bytes to read, and what to keep of those read ahead"),
    ("metadata::Broker", "this node's record"),
    ("metadata::Controller", "made from the files that the shell reads, then moved to the first shard"),
    ("metadata::Image", "handed to every shard at start"),
    ("metadata::Listener", "part of this node's record"),
    ("metadata::LogError", "why a file cannot be read"),
    ("metadata::Part", "of a snapshot: bytes to write, and where"),
    ("metadata::RecoverError", "why the files cannot be read"),
    ("metadata::Recovered", "what is to be done to the files before they are written"),
    ("metadata::SNAPSHOT_NAME", "the name of a file"),
    ("metadata::Write", "bytes to write, and where"),
    ("metadata::Written", "what came of a write"),
    ("metadata::decode_head", "to say why a file of an older format is refused"),
    ("metadata::file_index", "the names of files"),
    ("metadata::file_name", "the names of files"),
];
/// Members of the workspace and what they may use of the broker.
const LAYER_LOADGEN: [&str; 3] = ["client", "wire", "types"];
/// Folders below `src` whose members import each other in circles.
const CIRCLES: [&str; 2] = ["group", "shell"];
/// Assertions in each hundred functions of a machine, tests aside: paths below `src` and what they have at least. A figure
/// rises with what it counts and never falls; the aim is 100.
const ASSERTIONS: [(&str, usize); 11] = [
    ("config", 4),
    ("group", 25),
    ("journal", 30),
    ("log", 20),
    ("metadata", 19),
    ("shard/control", 25),
    ("shard/front", 14),
    ("shard/owner", 12),
    ("shard/runtime", 4),
    ("shard/store", 6),
    ("wire", 6),
];
const FILE_LINES_MAX: usize = 700;
/// A longer function says why in a comment directly above it that begins with `long:`.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn git(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("git").args(arguments).current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are UTF-8").split('\0').map(str::to_string).collect()
}

/// Files of the repository: those that git knows, and new ones that it would not ignore.
fn files() -> BTreeSet<String> {
    let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let files: BTreeSet<String> =
        listed.into_iter().filter(|name| !name.is_empty() && root().join(name).exists()).collect();
    assert!(files.contains("Cargo.toml") && files.contains("tests/tidy.rs"), "not this repository: {files:?}");
    files
}

/// Rust files with their text.
fn sources() -> Vec<(String, String)> {
    let read = |name: String| {
        let text = std::fs::read_to_string(root().join(&name)).expect("a source file is UTF-8");
        (name, text)
    };
    files().into_iter().filter(|name| name.ends_with(".rs")).map(read).collect()
}

fn is_generated(file: &str) -> bool {
    file.starts_with("src/flat/") && !file.ends_with("/mod.rs")
}

#[track_caller]
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_top_level_is_fixed() {
    let top: BTreeSet<String> = files().iter().map(|name| name.split('/').next().unwrap().to_string()).collect();
    none(top.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect());
}

/// The room of a file below `src`: its folder's or its own name.
fn room(file: &str) -> Option<&str> {
    let inner = file.strip_prefix("src/")?;
    Some(inner.split('/').next()?.trim_end_matches(".rs"))
}

/// Code without line comments, which may point anywhere.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The paths that follow each `ROOT::` in `code`: `crate::a::{b, c::D}` gives `a::b` and `a::c::D`.
fn paths_from(code: &str, root: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(root) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + root.len()..];
        let whole_word = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '$');
        if let (true, Some(tree)) = (whole_word, rest.strip_prefix("::")) {
            expand("", &mut tree.chars().peekable(), &mut paths);
        }
    }
    paths
}

/// One tree of a `use` declaration, or a plain path, which is a tree without branches.
fn expand(prefix: &str, tree: &mut std::iter::Peekable<std::str::Chars<'_>>, paths: &mut Vec<String>) {
    let mut path = prefix.to_string();
    loop {
        match tree.peek() {
            Some('{') => {
                while !matches!(tree.peek(), None | Some('}')) {
                    tree.next();
                    while tree.peek().is_some_and(|c| c.is_whitespace()) {
                        tree.next();
                    }
                    if tree.peek() != Some(&'}') {
                        expand(&path, tree, paths);
                    }
                    // The rest of `NAME as OTHER`.
                    while !matches!(tree.peek(), None | Some(',' | '}')) {
                        tree.next();
                    }
                }
                tree.next();
                return;
            }
            Some(c) if c.is_alphanumeric() || matches!(c, '_' | ':' | '*') => path.extend(tree.next()),
            _ => break,
        }
    }
    paths.push(path.trim_end_matches("::").to_string());
}

#[test]
fn paths_are_found() {
    let code = "use crate::{a, b::{self, C as D}};\nfn f() { crate::e::f(); $crate::no::no; my_crate::no::no }";
    assert_eq!(paths_from(code, "crate"), ["a", "b::self", "b::C", "e::f"]);
}

fn allows(allowed: &str, path: &str) -> bool {
    path == allowed || path.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut faults = Vec::new();
    for (file, text) in sources() {
        let Some(room) = room(&file).filter(|room| !["lib", "main"].contains(room)) else { continue };
        let Some((_, layer)) = LAYERS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{file}: the room {room} is not in the table"));
            continue;
        };
        for path in paths_from(&code(&text), "crate") {
            let plain = room == "shell" && LAYERS_SHELL.iter().any(|(allowed, _)| allows(allowed, &path));
            if !plain && !allows(room, &path) && !layer.iter().any(|allowed| allows(allowed, &path)) {
                faults.push(format!("{file}: {room} may not use {path}"));
            }
        }
    }
    none(faults);
}

/// A file's module below its crate: `src/a/b/mod.rs` and `src/a/b.rs` are `[a, b]`.
fn module(file: &str) -> Vec<&str> {
    let inner = file.rsplit_once("src/").map_or(file, |(_, inner)| inner).trim_end_matches(".rs");
    inner.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).collect()
}

/// What a file imports, as modules and names below its crate.
fn imports(file: &str, text: &str) -> Vec<Vec<String>> {
    // Tests may look around.
    let code = code(without_tests(text));
    let own: Vec<String> = module(file).into_iter().map(str::to_string).collect();
    let mut all = Vec::new();
    let mut add = |base: &[String], path: String| {
        let parts = path.split("::").filter(|part| *part != "self").map(str::to_string);
        all.push(base.iter().cloned().chain(parts).collect());
    };
    paths_from(&code, "crate").into_iter().for_each(|path| add(&[], path));
    for (root, up) in [("self", 0), ("super", 1)] {
        for path in paths_from(&code, root) {
            let more = path.split("::").take_while(|part| *part == "super").count();
            let path = path.split("::").skip(more).collect::<Vec<_>>().join("::");
            add(&own[..own.len().saturating_sub(up + more)], path);
        }
    }
    all
}

/// Whether a file is there for tests alone.
fn is_for_tests(file: &str) -> bool {
    ["tests.rs", "fixture.rs"].iter().any(|name| file.ends_with(name))
}

/// The members of each folder below `src` and what they import of each other: folder, importer, imported, file.
fn arrows() -> BTreeSet<(Vec<String>, String, String, String)> {
    let sources = || sources().into_iter().filter(|(file, _)| file.starts_with("src/") && !is_for_tests(file));
    let modules: BTreeSet<Vec<String>> =
        sources().map(|(file, _)| module(&file).into_iter().map(str::to_string).collect()).collect();
    let mut arrows = BTreeSet::new();
    for (file, text) in sources() {
        let own = module(&file);
        for path in imports(&file, &text) {
            let same = own.iter().zip(&path).take_while(|(a, b)| **a == **b).count();
            let (folder, rest) = path.split_at(same);
            let (Some(from), Some(to)) = (own.get(same), rest.first()) else { continue };
            let mut target = folder.to_vec();
            target.push(to.clone());
            if !folder.is_empty() && modules.iter().any(|module| module.starts_with(&target)) {
                arrows.insert((folder.to_vec(), from.to_string(), to.clone(), file.clone()));
            }
        }
    }
    arrows
}

#[test]
fn the_modules_of_a_room_import_each_other_in_no_circle() {
    let arrows = arrows();
    assert!(arrows.len() > 100, "imports are found");
    let folders: BTreeSet<&Vec<String>> = arrows.iter().map(|(folder, ..)| folder).collect();
    let mut faults = Vec::new();
    for folder in folders {
        let known = CIRCLES.contains(&&*folder.join("::"));
        let mut left: Vec<_> = arrows.iter().filter(|(of, ..)| of == folder).collect();
        // What nobody imports is in no circle, and what imports nothing neither.
        loop {
            let before = left.len();
            let from: BTreeSet<&String> = left.iter().map(|(_, from, ..)| from).collect();
            let to: BTreeSet<&String> = left.iter().map(|(_, _, to, _)| to).collect();
            left.retain(|(_, a, b, _)| to.contains(a) && from.contains(b));
            if left.len() == before {
                break;
            }
        }
        let arrow = |(_, from, to, file): &&(Vec<String>, String, String, String)| {
            format!("{}: {from} -> {to} in {file}", folder.join("::"))
        };
        match left.is_empty() {
            true if known => faults.push(format!("{} has no circle: it is to leave the list", folder.join("::"))),
            false if !known => faults.extend(left.iter().map(arrow)),
            _ => {}
        }
    }
    none(faults);
}

#[test]
fn loadgen_uses_the_wire_and_the_clients_room_alone() {
    let mut faults = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| file.starts_with("loadgen/src/")) {
        let paths = paths_from(&code(&text), "klamm").into_iter();
        let wrong = paths.filter(|path| !LAYER_LOADGEN.iter().any(|allowed| allows(allowed, path)));
        faults.extend(wrong.map(|path| format!("{file}: may not use {path}")));
    }
    none(faults);
}

#[test]
fn files_are_short() {
    let long = |(file, text): (String, String)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX && !is_generated(&file)).then(|| format!("{file}: {lines} lines"))
    };
    none(sources().into_iter().filter_map(long).collect());
}

/// Functions as (number of the first line, number of lines). Formatted code ends one with a brace as deep as it begins.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let words = line.trim_start().split("fn ").next().unwrap_or("");
        let is_function = line.contains("fn ")
            && words
                .split_whitespace()
                .all(|word| word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word));
        if !is_function {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let head = lines[first..].iter().position(|line| line.ends_with(['{', ';', '}'])).unwrap_or(0);
        if !lines[first + head].ends_with('{') {
            continue;
        }
        let end = format!("{indent}}}");
        let length = lines[first..].iter().position(|line| *line == end).unwrap_or(0);
        functions.push((first, length + 1));
    }
    functions
}

#[test]
fn functions_are_short_or_say_why() {
    let mut faults = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !is_generated(file)) {
        let lines: Vec<&str> = text.lines().collect();
        for (first, length) in functions(&lines).into_iter().filter(|(_, length)| *length > FUNCTION_LINES_MAX) {
            let mut above = lines[..first].iter().rev().take_while(|line| {
                let line = line.trim_start();
                line.starts_with("//") || line.starts_with("#[")
            });
            if !above.any(|line| line.contains("long: ")) {
                faults.push(format!("{file}:{}: {length} lines without `long: why` above", first + 1));
            }
        }
    }
    none(faults);
}

#[test]
fn functions_are_found() {
    let text =
        "    pub const fn a(\n        b: u8,\n    ) -> u8 {\n        b\n    }\nfn c() {}\ntrait T {\n    fn d();\n}";
    assert_eq!(functions(&text.lines().collect::<Vec<_>>()), [(0, 5)]);
}

/// What of a file is no test.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("")
}

#[test]
fn machines_assert_what_they_rely_on() {
    let mut faults = Vec::new();
    for (path, least) in ASSERTIONS {
        let (mut count, mut among) = (0, 0);
        for (file, text) in sources().into_iter().filter(|(file, _)| !is_for_tests(file)) {
            let inner = file.strip_prefix("src/").and_then(|file| file.strip_prefix(path));
            if inner.is_some_and(|rest| rest.starts_with(['/', '.'])) {
                let code = code(without_tests(&text));
                count += ["assert!(", "assert_eq!(", "assert_ne!(", "unreachable!("]
                    .map(|name| code.matches(name).count())
                    .iter()
                    .sum::<usize>();
                among += functions(&code.lines().collect::<Vec<_>>()).len();
            }
        }
        assert!(among > 0, "{path} has functions");
        let rate = count * 100 / among;
        if rate < least {
            faults.push(format!("{path}: {count} assertions in {among} functions, {rate} in a hundred, not {least}"));
        }
    }
    none(faults);
}

/// Pairs of neighbouring declarations `use` with a blank line between them: the line of the second one's.
fn imports_apart(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = |line: &str| line.trim_start().starts_with("use ");
    let mut apart = Vec::new();
    for at in (2..lines.len()).filter(|&at| starts(lines[at]) && lines[at - 1].is_empty()) {
        // A declaration over several lines ends with `};`; its first line is as deep as its last.
        let depth = |line: &str| line.len() - line.trim_start().len();
        let end = lines[at - 2];
        let mut above = lines[..at - 1].iter().rev();
        let first = above.find(|line| depth(line) == depth(end) && !line.trim_start().starts_with('}'));
        if end.ends_with(';') && first.is_some_and(|line| starts(line)) {
            apart.push(at + 1);
        }
    }
    apart
}

#[test]
fn imports_stand_together() {
    // rustfmt sorts what stands together, so each file has one order. What a module gives on stands apart.
    let text = "use a::{\n    b,\n    c,\n};\n\nuse d;\nuse e;\n\npub use f;\n\nuse g;\n";
    assert_eq!(imports_apart(text), [6]);
    let fault = |(file, text): (String, String)| {
        let lines = imports_apart(&text).into_iter();
        lines.map(|line| format!("{file}:{line}: a blank line between imports")).collect::<Vec<_>>()
    };
    none(sources().into_iter().filter(|(file, _)| !is_generated(file)).flat_map(fault).collect());
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = ["to\u{64}o!", "unimplemente\u{64}!", "FIXM\u{45}", "XX\u{58}", "HAC\u{4b}"];
    // Only what measures time may wait to be asked for: there is no figure that it must give.
    let (ignored, measures) = ("#[ignor\u{65}", [" = \"a measurement", " = \"measures"]);
    let mut faults = Vec::new();
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let fault = |word: &str| format!("{file}:{}: {word}", number + 1);
            faults.extend(words.iter().filter(|word| has_word(line, word)).map(|word| fault(word)));
            let asked_for = |rest: &str| measures.iter().any(|reason| rest.starts_with(reason));
            if line.split_once(ignored).is_some_and(|(_, rest)| !asked_for(rest)) {
                faults.push(fault(ignored));
            }
        }
    }
    none(faults);
}

fn has_word(line: &str, word: &str) -> bool {
    let mut at = line.match_indices(word);
    at.any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric) && !line[at + word.len()..].starts_with('X'))
}

fn cargo(arguments: &[&str]) {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_code_is_formatted() {
    cargo(&["fmt", "--all", "--check"]);
}

/// Crates that only some features bring, from the manifest's `NAME = { ..., optional = true, ... }`.
fn optional_crates() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    optional.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_"))).collect()
}

/// `.ci/run` builds them so. Here it is seen that nothing of what a build without features lacks is named by what it has.
#[test]
fn the_machines_name_nothing_of_the_kernel() {
    let crates = optional_crates();
    assert!(crates.iter().any(|name| name == "glommio") && crates.len() > 5, "{crates:?}");
    let mut faults = Vec::new();
    let mut gated = Vec::new();
    for (file, text) in sources() {
        let (Some(room), code) = (room(&file), code(&text)) else { continue };
        if room == "lib" {
            let lines: Vec<&str> = code.lines().collect();
            let is_gate = |pair: &&[&str]| pair[0].starts_with("#[cfg(feature = ");
            gated.extend(lines.windows(2).filter(is_gate).map(|pair| pair[1].to_string()));
        } else if !["main", "shell", "cli"].contains(&room) {
            let paths = crates.iter().filter(|name| !paths_from(&code, name).is_empty());
            faults.extend(paths.map(|name| format!("{file}: {name} is there for the shell and the commands alone")));
            let gates = code.lines().filter(|line| line.contains("feature = "));
            faults.extend(gates.map(|line| format!("{file}: features are asked for in lib.rs alone: {line}")));
        }
    }
    assert_eq!(gated, ["pub mod cli;", "pub mod shell;"], "what the features bring");
    none(faults);
}

/// Names in backticks in a text, code blocks left out.
fn names(text: &str) -> Vec<String> {
    let plain: String = text.split("```").step_by(2).collect();
    plain.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

#[test]
fn the_map_names_what_is_there() {
    let map = std::fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("the map is there");
    let all: String = sources().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    let is_path = |name: &str| {
        let ends = [".rs", ".txt", ".fbs", ".md", "/"].iter().any(|end| name.ends_with(end));
        name.contains('/') && ends && name.to_lowercase() == name
    };
    let is_symbol = |name: &str| {
        let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
        plain && name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
    };
    let mut faults = Vec::new();
    let mut seen = 0;
    for name in names(&map) {
        if is_path(&name) {
            seen += 1;
            if !["src", "", "src/shard"].iter().any(|base| root().join(base).join(&name).exists()) {
                faults.push(format!("no file {name}"));
            }
        } else if is_symbol(&name) {
            seen += 1;
            for part in name.split("::") {
                let there = |word: &&str| {
                    let at = |(at, _): &(usize, &str)| {
                        let after = all[at + word.len()..].chars().next();
                        after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                    };
                    all.match_indices(*word).any(|found| at(&found))
                };
                let kinds = ["struct", "enum", "trait", "type", "fn"].map(|kind| format!("{kind} {part}"));
                let variant = format!("    {part}");
                if !kinds.iter().any(|kind| there(&kind.as_str())) && !there(&variant.as_str()) {
                    faults.push(format!("nothing is called {part} ({name})"));
                }
            }
        }
    }
    assert!(seen > 50, "the map names files and symbols");
    none(faults);
}
