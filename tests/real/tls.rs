//! HTTPS as most of the web speaks it: a server with a certificate, HTTP/2 where it offers that, and certificates that must not be
//! trusted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use crate::crawl::Crawl;
use crate::process::{self, Process};
use crate::{alone, nginx, show, tools};

/// Pages of the site, each linked from the first.
const PAGES: usize = 200;

/// nginx with a site behind TLS.
struct Secure {
    folder: TempDir,
    process: Process,
    port: u16,
}

impl Secure {
    /// `name` is whom its certificate is for; `http2` whether it offers that.
    fn start(name: &str, http2: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path();
        certify(path, name);
        let links: String = (1..PAGES).map(|page| format!("<a href=\"page{page}.html\">{page}</a>")).collect();
        write(path, "index.html", &links);
        for page in 1..PAGES {
            write(path, &format!("page{page}.html"), &format!("<title>Page {page}</title>"));
        }
        let port = process::free_port();
        let log = r"log_format fields '$server_protocol\t$ssl_protocol\t$connection\t$uri\t$status';
    access_log access.log fields;";
        let server = format!(
            "listen 127.0.0.1:{port} ssl{};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate server.pem;
        ssl_certificate_key server.key;
        root \"{}\";",
            if http2 { " http2" } else { "" },
            path.display()
        );
        let process = nginx::start(path, process::free_port(), log, &server);
        Self { folder, process, port }
    }

    /// A crawl of it that trusts nobody but its own authority, or whoever the machine trusts.
    fn crawl(&self, trusts_it: bool) -> Crawl {
        let crawl = Crawl::new(&format!(
            "[throttle]\nmax_rate = \"none\"\ngive_up_unknown = \"1s\"\n[site.secure]\nstart = [\"https://localhost:{}/\"]\n",
            self.port
        ));
        let authority = self.folder.path().join("authority.pem");
        if trusts_it { crawl.with_env("SSL_CERT_FILE", &authority) } else { crawl }
    }

    /// The lines of its log, each cut into its fields.
    fn stop(&mut self) -> Vec<Vec<String>> {
        self.process.stop();
        let log = process::read_lossy(&self.folder.path().join("access.log"));
        log.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the test's own folder can be written to");
}

/// Makes an authority of our own and a certificate of its for `name`.
fn certify(folder: &Path, name: &str) {
    write(folder, "names", &format!("subjectAltName=DNS:{name}\n"));
    let key = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for arguments in [
        format!("{key} -x509 -days 2 -subj /CN=authority -keyout authority.key -out authority.pem"),
        format!("{key} -subj /CN={name} -keyout server.key -out server.csr"),
        "x509 -req -in server.csr -days 2 -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names -out server.pem"
            .to_owned(),
    ] {
        let mut command = Command::new(tools::program("openssl"));
        let output = command.args(arguments.split(' ')).current_dir(folder).output().expect("openssl starts");
        assert!(output.status.success(), "openssl {arguments}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn stored(crawl: &Crawl) -> usize {
    #[derive(Deserialize)]
    struct Row {
        pages: usize,
    }
    crawl.sql::<Row>("SELECT count(*) AS pages FROM pages WHERE status = 200 AND body_hash IS NOT NULL")[0].pages
}

#[test]
fn a_site_is_crawled_over_http_2_where_the_server_offers_it_and_over_1_1_where_not() {
    let _alone = alone();
    for (http2, protocol) in [(true, "HTTP/2.0"), (false, "HTTP/1.1")] {
        let mut server = Secure::start("localhost", http2);
        let crawl = server.crawl(true);
        assert_eq!(crawl.run().code, 0);
        assert_eq!(stored(&crawl), PAGES);
        let lines = server.stop();
        assert_eq!(lines.iter().find(|line| line[0] != protocol || line[1] != "TLSv1.3"), None);
        let asked: BTreeSet<&str> = lines.iter().map(|line| line[3].as_str()).collect();
        assert_eq!((lines.len(), asked.len()), (PAGES + 2, PAGES + 2), "each page once, robots.txt and the sitemap");
        let connections: BTreeSet<&str> = lines.iter().map(|line| line[2].as_str()).collect();
        let most = if http2 { 1 } else { 8 };
        assert!(connections.len() <= most, "{} connections for {} requests", connections.len(), lines.len());
        show(&format!("{protocol} over TLS: {PAGES} pages over {} connections", connections.len()));
    }
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_told_and_nothing_is_asked() {
    #[derive(Deserialize)]
    struct Row {
        reason: String,
    }
    let _alone = alone();
    let cases = [("localhost", false, "UnknownIssuer"), ("elsewhere.example", true, "not valid for name")];
    let begun = cases.map(|(name, trusts_it, why)| {
        let server = Secure::start(name, true);
        let crawl = server.crawl(trusts_it);
        let run = crawl.begin();
        (server, crawl, run, why)
    });
    for (mut server, crawl, mut run, why) in begun {
        assert_eq!(run.wait(60_000).code(), Some(4), "{}", run.stderr());
        let reasons = crawl.sql::<Row>("SELECT reason FROM failures");
        assert!(!reasons.is_empty() && reasons.iter().all(|row| row.reason.contains(why)), "{:?}", reasons[0].reason);
        assert_eq!(server.stop(), Vec::<Vec<String>>::new());
    }
}
