//! The crate that is worked on, as cargo knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Why there is nothing to build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProjectError {
    /// The program can't be started.
    #[error("cargo can't be run: {0}")]
    NoCargo(String),
    /// No manifest, here or above.
    #[error("{} is no crate: there is no Cargo.toml in it, nor in a directory above it", .0.display())]
    NoCrate(PathBuf),
    /// Cargo refuses the manifest.
    #[error("cargo does not take the crate in {}", folder.display())]
    Manifest {
        /// Where.
        folder: PathBuf,
        /// Its own words.
        why: Vec<String>,
    },
    /// Nothing that a host could load.
    #[error("package {package} makes no library that a host can load ({})", manifest.display())]
    NoLibrary {
        /// The package.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
        /// Packages of its workspace that make one.
        others: Vec<String>,
    },
    /// No package of the workspace makes one.
    #[error("no package of the workspace {} makes a library that a host can load", .0.display())]
    NoLibraries(PathBuf),
    /// More than one.
    #[error("the workspace {} has {} packages that make a library: {}", root.display(), packages.len(), packages.join(", "))]
    Several {
        /// The workspace.
        root: PathBuf,
        /// Those that do.
        packages: Vec<String>,
    },
    /// No package of that name.
    #[error("the workspace {} has no package {name:?}", root.display())]
    NoPackage {
        /// What was asked for.
        name: String,
        /// The workspace.
        root: PathBuf,
        /// Its packages.
        known: Vec<String>,
    },
    /// The manifest's own table can't be read.
    #[error("{}: [package.metadata.busway-dev] can't be read: {why}", manifest.display())]
    Table {
        /// The manifest.
        manifest: PathBuf,
        /// Why not.
        why: String,
    },
}

impl ProjectError {
    /// In cargo's own words.
    pub(crate) fn why(&self) -> Vec<String> {
        match self {
            Self::Manifest { why, .. } => why.clone(),
            Self::NoPackage { known, .. } => vec![format!("its packages are {}", known.join(", "))],
            _ => Vec::new(),
        }
    }

    /// What to do.
    pub(crate) fn remedy(&self) -> Option<String> {
        let crate_type = "a driver's Cargo.toml says `[lib]` and `crate-type = [\"cdylib\"]`";
        Some(match self {
            Self::NoCargo(_) => "install Rust, https://rustup.rs, or put cargo's directory on PATH".to_owned(),
            Self::NoCrate(_) => {
                "`busway plugin new NAME` makes a crate; or name the directory of yours: busway dev DIR".to_owned()
            }
            Self::NoLibrary { others, .. } if !others.is_empty() => {
                format!("--package NAME, of those that do: {}", others.join(", "))
            }
            Self::NoLibrary { .. } | Self::NoLibraries(_) => crate_type.to_owned(),
            Self::Several { packages, .. } => format!("--package {}", packages.first().map_or("NAME", String::as_str)),
            Self::Table { .. } => "options = { name = \"value\" }".to_owned(),
            Self::NoPackage { name, known, .. } => {
                let known = known.iter().map(String::as_str);
                return busway_plugin_api::options::nearest(name, known).map(|near| format!("--package {near}"));
            }
            Self::Manifest { .. } => return None,
        })
    }
}

/// What is built, and what of it is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Project {
    /// The package's name.
    pub(crate) name: String,
    /// Cargo's id of it.
    pub(crate) id: String,
    /// What its manifest says for `busway dev`: the driver's options.
    pub(crate) options: Map<String, Value>,
    /// The folders of sources: its own, and those of the packages that it depends on by path.
    pub(crate) sources: BTreeSet<PathBuf>,
    /// Single files that count: manifests and build scripts.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
}

/// `[package.metadata.busway-dev]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    options: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Option<Resolve>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    /// None: it lies on this machine.
    source: Option<String>,
    targets: Vec<Target>,
    metadata: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
    root: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Package {
    fn makes_a_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "cdylib"))
    }
}

/// The cargo that is to be asked: the one that started this, if one did.
pub(super) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").filter(|path| !path.is_empty()).unwrap_or_else(|| "cargo".into()))
}

/// That cargo can't be started.
pub(super) fn no_cargo(error: &io::Error) -> ProjectError {
    ProjectError::NoCargo(super::super::client::reason(error))
}

impl Project {
    /// Asks cargo what the crate in `folder`, or above it, is; of a workspace the package that is `wanted`.
    ///
    /// # Errors
    ///
    /// When there is nothing there that a host could load, or not one thing.
    pub(super) fn find(folder: &Path, wanted: Option<&str>) -> Result<Self, ProjectError> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--color", "never", "--quiet"]).current_dir(folder);
        let said = command.stdin(Stdio::null()).output().map_err(|error| no_cargo(&error))?;
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stderr);
            if text.contains("could not find `Cargo.toml`") {
                return Err(ProjectError::NoCrate(folder.to_owned()));
            }
            let lines = text.lines().map(|line| line.trim().trim_start_matches("error: ").to_owned());
            let why = lines.filter(|line| !line.is_empty() && line != "Caused by:").collect();
            return Err(ProjectError::Manifest { folder: folder.to_owned(), why });
        }
        let unlike = |error: serde_json::Error| ProjectError::Manifest {
            folder: folder.to_owned(),
            why: vec![format!("what `cargo metadata` says can't be read: {error}")],
        };
        Self::choose(&serde_json::from_slice(&said.stdout).map_err(unlike)?, wanted)
    }

    /// What it was made of counts, too: what sources include, say, wherever that lies.
    pub(super) fn made_of(&mut self, files: Vec<PathBuf>) {
        let is_known = |file: &PathBuf| self.sources.iter().any(|folder| file.starts_with(folder));
        let more: Vec<PathBuf> =
            files.into_iter().filter(|file| !is_known(file) && !file.starts_with(&self.target)).collect();
        self.files.extend(more);
    }

    fn choose(metadata: &Metadata, wanted: Option<&str>) -> Result<Self, ProjectError> {
        let package = chosen(metadata, wanted)?;
        let table = package.metadata.as_ref().and_then(|metadata| metadata.get("busway-dev")).cloned();
        let Table { options } = table
            .map_or(Ok(Table::default()), serde_json::from_value)
            .map_err(|error| ProjectError::Table { manifest: package.manifest_path.clone(), why: error.to_string() })?;
        let mut project = Self {
            name: package.name.clone(),
            id: package.id.clone(),
            options,
            target: metadata.target_directory.clone(),
            ..Self::default()
        };
        project.files.insert(metadata.workspace_root.join("Cargo.toml"));
        for package in by_path(metadata, &package.id) {
            let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
            project.sources.insert(folder.join("src"));
            project.files.insert(package.manifest_path.clone());
            for target in &package.targets {
                let is = |kinds: &[&str]| target.kind.iter().any(|kind| kinds.contains(&kind.as_str()));
                if is(&["custom-build"]) {
                    project.files.insert(target.src_path.clone());
                } else if is(&["lib", "rlib", "cdylib", "dylib", "staticlib", "proc-macro"]) {
                    project.sources.extend(target.src_path.parent().map(Path::to_path_buf));
                }
            }
        }
        Ok(project)
    }
}

/// The package that is meant.
fn chosen<'a>(metadata: &'a Metadata, wanted: Option<&str>) -> Result<&'a Package, ProjectError> {
    let members = || metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    let names = |packages: &[&Package]| packages.iter().map(|package| package.name.clone()).collect::<Vec<_>>();
    let libraries: Vec<&Package> = members().filter(|package| package.makes_a_library()).collect();
    let root = || metadata.workspace_root.clone();
    let here = metadata.resolve.as_ref().and_then(|resolve| resolve.root.as_ref());
    let named = match (wanted, here) {
        (Some(name), _) => {
            let unknown = || {
                let known = names(&members().collect::<Vec<_>>());
                ProjectError::NoPackage { name: name.to_owned(), root: root(), known }
            };
            Some(members().find(|package| package.name == name).ok_or_else(unknown)?)
        }
        (None, here) => members().find(|package| Some(&package.id) == here),
    };
    match (named, &libraries[..]) {
        (Some(package), _) if package.makes_a_library() => Ok(package),
        (Some(package), others) => Err(ProjectError::NoLibrary {
            package: package.name.clone(),
            manifest: package.manifest_path.clone(),
            others: names(others),
        }),
        (None, [one]) => Ok(one),
        (None, []) => Err(ProjectError::NoLibraries(root())),
        (None, several) => Err(ProjectError::Several { root: root(), packages: names(several) }),
    }
}

/// The package, and all that it depends on that lies on this machine.
fn by_path<'a>(metadata: &'a Metadata, id: &str) -> Vec<&'a Package> {
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|one| (one.id.as_str(), one)).collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let needs: BTreeMap<&str, &[String]> = nodes.map(|node| (node.id.as_str(), &node.dependencies[..])).collect();
    let (mut seen, mut found, mut open) = (BTreeSet::new(), Vec::new(), vec![id]);
    while let Some(id) = open.pop() {
        // What comes from a registry does not change.
        if let Some((&id, package)) = packages.get_key_value(id).filter(|(_, package)| package.source.is_none())
            && seen.insert(id)
        {
            found.push(*package);
            open.extend(needs.get(id).into_iter().flat_map(|needs| needs.iter()).map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, kind: &str, source: Option<&str>) -> Value {
        let library = json!({"kind": [kind], "src_path": format!("/w/{name}/src/lib.rs")});
        let script = json!({"kind": ["custom-build"], "src_path": format!("/w/{name}/build.rs")});
        json!({
            "name": name, "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "source": source,
            "targets": [library, script], "metadata": null,
        })
    }

    /// Two drivers, a library that one of them uses, and one from a registry.
    fn workspace(root: Option<&str>) -> Value {
        json!({
            "packages": [
                package("web", "cdylib", None), package("sql", "cdylib", None), package("common", "lib", None),
                package("serde", "lib", Some("registry")),
            ],
            "workspace_members": ["web", "sql", "common"],
            "workspace_root": "/w", "target_directory": "/w/target",
            "resolve": {"root": root, "nodes": [
                {"id": "web", "dependencies": ["common", "serde"]}, {"id": "common", "dependencies": ["serde"]},
                {"id": "sql", "dependencies": []}, {"id": "serde", "dependencies": []},
            ]},
        })
    }

    fn choose(metadata: Value, wanted: Option<&str>) -> Result<Project, ProjectError> {
        Project::choose(&serde_json::from_value(metadata).unwrap(), wanted)
    }

    fn told(metadata: Value, wanted: Option<&str>) -> String {
        let error = choose(metadata, wanted).unwrap_err();
        super::super::super::failure::Failure::from(error).report().unwrap()
    }

    #[test]
    fn the_crate_one_stands_in_is_meant_with_what_it_uses_by_path() {
        let project = choose(workspace(Some("web")), None).unwrap();
        let paths = |paths: &BTreeSet<PathBuf>| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            (project.name.as_str(), paths(&project.sources)),
            ("web", vec!["/w/common/src".into(), "/w/web/src".into()])
        );
        let files =
            ["/w/Cargo.toml", "/w/common/Cargo.toml", "/w/common/build.rs", "/w/web/Cargo.toml", "/w/web/build.rs"];
        assert_eq!(paths(&project.files), files);
        assert_eq!(choose(workspace(Some("web")), Some("sql")).unwrap().name, "sql");
        let mut project = project;
        project.made_of(["/w/web/src/lib.rs", "/w/web/query.sql", "/w/target/debug/made.rs"].map(PathBuf::from).into());
        let more: Vec<&PathBuf> =
            project.files.iter().filter(|file| !files.contains(&file.to_str().unwrap())).collect();
        assert_eq!(more, [Path::new("/w/web/query.sql")]);
        let mut one = workspace(None);
        one["packages"][1]["targets"] = json!([]);
        assert_eq!(choose(one, None).unwrap().name, "web", "the only one that makes a library");
    }

    #[test]
    fn its_manifest_may_say_the_options() {
        let mut metadata = workspace(Some("web"));
        metadata["packages"][0]["metadata"] = json!({"docs": {}, "busway-dev": {"options": {"rows": 3}}});
        assert_eq!(Value::Object(choose(metadata.clone(), None).unwrap().options), json!({"rows": 3}));
        metadata["packages"][0]["metadata"] = json!({"busway-dev": {"option": {"rows": 3}}});
        assert_eq!(
            told(metadata, None),
            "error: /w/web/Cargo.toml: [package.metadata.busway-dev] can't be read: unknown field `option`, expected `options`\n  \
             try: options = { name = \"value\" }"
        );
    }

    #[test]
    fn what_can_t_be_built_is_told_with_what_to_do() {
        assert_eq!(
            told(workspace(None), None),
            "error: the workspace /w has 2 packages that make a library: web, sql\n  try: --package web"
        );
        assert_eq!(
            told(workspace(None), Some("wbe")),
            "error: the workspace /w has no package \"wbe\"\n  why: its packages are web, sql, common\n  try: --package web"
        );
        assert_eq!(
            told(workspace(Some("common")), None),
            "error: package common makes no library that a host can load (/w/common/Cargo.toml)\n  \
             try: --package NAME, of those that do: web, sql"
        );
        let mut bare = workspace(Some("common"));
        bare["workspace_members"] = json!(["common"]);
        let crate_type = "try: a driver's Cargo.toml says `[lib]` and `crate-type = [\"cdylib\"]`";
        assert_eq!(
            told(bare.clone(), None),
            format!(
                "error: package common makes no library that a host can load (/w/common/Cargo.toml)\n  {crate_type}"
            )
        );
        bare["resolve"]["root"] = Value::Null;
        assert_eq!(
            told(bare, None),
            format!("error: no package of the workspace /w makes a library that a host can load\n  {crate_type}")
        );
    }

    #[test]
    fn where_no_crate_is_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = Project::find(folder.path(), None).unwrap_err();
        let report = super::super::super::failure::Failure::from(error).report().unwrap();
        let here = folder.path().display();
        assert_eq!(
            report,
            format!(
                "error: {here} is no crate: there is no Cargo.toml in it, nor in a directory above it\n  \
                 try: `busway plugin new NAME` makes a crate; or name the directory of yours: busway dev DIR"
            )
        );
        std::fs::write(folder.path().join("Cargo.toml"), "[package\n").unwrap();
        let error = Project::find(folder.path(), None).unwrap_err();
        assert_eq!(error.to_string(), format!("cargo does not take the crate in {here}"));
        assert!(!error.why().is_empty() && error.why().iter().all(|why| !why.starts_with("error")), "{error:?}");
    }

    #[test]
    fn a_cargo_that_is_not_there_is_said() {
        let error = no_cargo(&io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(
            super::super::super::failure::Failure::from(error).report().unwrap(),
            "error: cargo can't be run: entity not found\n  try: install Rust, https://rustup.rs, or put cargo's directory on PATH"
        );
    }
}
