//! MediaWiki, whose API goes on where `continue` says, gives a page's parts in several answers, and takes ids in batches of 50.
//! It runs in the server that PHP has for developers, with its tables in SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{tools, wire};

/// Pages that are made, beside the main page that every wiki has.
pub const PAGES: usize = 300;
/// How long PHP may take for a script. The longest takes five seconds.
const SCRIPT_MS_MAX: u64 = 120_000;
/// MediaWiki wants one of at least ten letters. The account is used by nobody.
const PASSWORD: &str = "of-a-wiki-on-loopback";
/// No waiting for disks, which takes a minute of a busy machine's time for a wiki that is of no worth; and no request does the work
/// of others on the side.
const SETTINGS: &str = "
$wgDBservers = [ [ 'type' => 'sqlite', 'dbname' => 'wiki', 'dbDirectory' => $wgSQLiteDataDir, 'host' => '', 'load' => 1,
    'flags' => DBO_DEFAULT, 'variables' => [ 'synchronous' => 'OFF' ] ] ];
$wgJobRunRate = 0;
";

/// A wiki.
pub struct MediaWiki {
    folder: TempDir,
    _process: Process,
    port: u16,
}

/// What a wiki has of a page.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// As people write it.
    pub title: String,
    /// What it was last saved with.
    pub text: String,
    /// The titles of the pages that it links to.
    pub links: BTreeSet<String>,
}

impl MediaWiki {
    /// Serves a wiki with `Page 1` to `Page 300`. Each links to up to eight others, all with the text that their numbers make.
    pub fn start() -> Self {
        // One wiki is made in every run of the tests, in seven seconds, and each server has a copy of it.
        static MADE: OnceLock<PathBuf> = OnceLock::new();
        let made = MADE.get_or_init(make);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        copy(made, folder.path());
        let port = process::free_port();
        settle(folder.path(), made, port);
        let mut command = php(folder.path());
        command.args(["-S", &format!("127.0.0.1:{port}"), "-t"]).arg(tools::mediawiki());
        let mut process = Process::start("mediawiki", folder.path(), &mut command);
        process.wait_until_it_listens(port);
        Self { folder, _process: process, port }
    }

    /// Its port. The API is at `/api.php`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All pages by their numbers, from its own tables.
    pub fn dump(&self) -> BTreeMap<i64, Page> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let read: Result<_, sqlx::Error> = runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(self.folder.path().join("wiki.sqlite")).read_only(true);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            let texts = "SELECT page_id, CAST(page_title AS TEXT), CAST(old_text AS TEXT) FROM page \
                JOIN slots ON slot_revision_id = page_latest JOIN content ON content_id = slot_content_id \
                JOIN text ON 'tt:' || old_id = CAST(content_address AS TEXT)";
            let texts: Vec<(i64, String, String)> = sqlx::query_as(texts).fetch_all(&mut connection).await?;
            let links = "SELECT pl_from, CAST(pl_title AS TEXT) FROM pagelinks";
            let links: Vec<(i64, String)> = sqlx::query_as(links).fetch_all(&mut connection).await?;
            connection.close().await?;
            Ok((texts, links))
        });
        let (texts, links) = read.expect("the tables can be read");
        let written = |title: String| title.replace('_', " ");
        let page = |title, text| Page { title: written(title), text, links: BTreeSet::new() };
        let mut pages: BTreeMap<i64, Page> =
            texts.into_iter().map(|(id, title, text)| (id, page(title, text))).collect();
        for (from, title) in links {
            pages.get_mut(&from).expect("links are on pages").links.insert(written(title));
        }
        pages
    }

    /// Saves a page with another text.
    pub fn edit(&self, title: &str, text: &str) {
        let dump = self.folder.path().join("edit.xml");
        std::fs::write(&dump, export(&exported(title, "2025-01-01", text)))
            .expect("the test's own folder can be written to");
        script(self.folder.path(), "importDump.php", &["--quiet", &dump.display().to_string()]);
        script(self.folder.path(), "runJobs.php", &["--quiet"]);
    }

    /// The numbers of all its pages, by one request.
    pub fn keys(&self) -> BTreeSet<String> {
        let all = "/api.php?action=query&list=allpages&aplimit=500&format=json&formatversion=2";
        let document = wire::get(self.port, all).json();
        assert!(document.get("continue").is_none(), "all come at once");
        let pages = document["query"]["allpages"].as_array().expect("MediaWiki gives a list");
        pages.iter().map(|page| page["pageid"].to_string()).collect()
    }
}

/// Makes the wiki in a folder below `target/tmp`, anew in every run.
fn make() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mediawiki");
    // Fails when there is none.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    let dump = folder.join("dump.xml");
    std::fs::write(&dump, dump_of(PAGES)).expect("the target folder can be written to");
    let at = |name: &str| folder.join(name).display().to_string();
    let install = ["--dbtype", "sqlite", "--dbpath", &at(""), "--dbname", "wiki", "--confpath", &at("")];
    let names = ["--pass", PASSWORD, "--scriptpath", "", "--server", "http://127.0.0.1", "Wiki", "Admin"];
    script(&folder, "install.php", &[&install[..], &names].concat());
    let settings = folder.join("LocalSettings.php");
    let own = process::read_lossy(&settings).replace("'synchronous' => 'NORMAL'", "'synchronous' => 'OFF'");
    std::fs::write(&settings, own + SETTINGS).expect("the target folder can be written to");
    script(&folder, "importDump.php", &["--quiet", &at("dump.xml")]);
    // The tables of links are filled by jobs.
    script(&folder, "runJobs.php", &["--quiet"]);
    folder
}

/// Runs one of MediaWiki's own scripts to its end.
fn script(folder: &Path, name: &str, arguments: &[&str]) {
    let mut command = php(folder);
    command.arg(tools::mediawiki().join("maintenance").join(name)).args(arguments);
    let mut process = Process::start(name, folder, &mut command);
    let status = process.wait(SCRIPT_MS_MAX);
    assert!(status.success(), "{name} ended with {status}:\n{}{}", process.stdout(), process.stderr());
}

/// PHP for the wiki in `folder`.
fn php(folder: &Path) -> Command {
    let mut command = Command::new(tools::program("php"));
    command.args(["-d", "opcache.enable_cli=1"]).current_dir(folder);
    let settings = folder.join("LocalSettings.php");
    // The installer takes it for a wiki that is there already.
    if settings.exists() {
        command.env("MW_CONFIG_FILE", settings);
    }
    command
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_file() {
            let name = path.file_name().expect("a file has a name");
            std::fs::copy(&path, to.join(name)).expect("the test's own folder can be written to");
        }
    }
}

/// The settings of the wiki that was made, for a copy in another place.
fn settle(folder: &Path, made: &Path, port: u16) {
    let file = folder.join("LocalSettings.php");
    let settings = process::read_lossy(&file);
    let here = settings
        .replace(&made.display().to_string(), &folder.display().to_string())
        .replace("\"http://127.0.0.1\"", &format!("\"http://127.0.0.1:{port}\""));
    std::fs::write(&file, here).expect("the test's own folder can be written to");
}

/// Pages as MediaWiki exports them.
fn dump_of(pages: usize) -> String {
    let page = |number: usize| {
        let links: String =
            (0..number % 9).map(|link| format!(" [[Page {}]]", (number * 7 + link * 13) % pages + 1)).collect();
        let day = format!("2024-01-{:02}", number % 28 + 1);
        exported(&format!("Page {number}"), &day, &format!("Text of page {number}.{links}"))
    };
    export(&(1..=pages).map(page).collect::<String>())
}

fn exported(title: &str, day: &str, text: &str) -> String {
    format!(
        "<page><title>{title}</title><ns>0</ns><revision><timestamp>{day}T00:00:00Z</timestamp>\
         <contributor><username>Admin</username></contributor>\
         <text xml:space=\"preserve\">{text}</text></revision></page>\n"
    )
}

fn export(pages: &str) -> String {
    format!(
        "<mediawiki xmlns=\"http://www.mediawiki.org/xml/export-0.10/\" version=\"0.10\" xml:lang=\"en\">\n\
         <siteinfo><namespaces><namespace key=\"0\" case=\"first-letter\" /></namespaces></siteinfo>\n{pages}</mediawiki>\n"
    )
}
