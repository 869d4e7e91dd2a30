//! Contexts with TLS: servers are vouched for, clients show who they are, and strangers are told apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use rcgen::CertifiedKey;
use support::{Said, command};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// A certificate that vouches for itself, and its key, as files.
struct Papers {
    certificate: PathBuf,
    key: PathBuf,
    pem: (String, String),
}

fn papers(folder: &Path, name: &str) -> Papers {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = (cert.pem(), signing_key.serialize_pem());
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, &pem.0).unwrap();
    std::fs::write(&key, &pem.1).unwrap();
    Papers { certificate, key, pem }
}

/// A server that serves health to clients with the papers of `client` while it is polled; its address.
async fn serve(server: &Papers, client: &Papers) -> (String, impl Future) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, health) = tonic_health::server::health_reporter();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&server.pem.0, &server.pem.1))
        .client_ca_root(Certificate::from_pem(&client.pem.0));
    let serving = Server::builder().tls_config(tls).unwrap().add_service(health);
    (format!("https://localhost:{port}"), serving.serve_with_incoming(TcpIncoming::from(listener)))
}

async fn services(url: &str, ca: &Papers, client: Option<&Papers>) -> Said {
    let mut arguments = vec!["service", "list", "--timeout", "5s", "--tls-ca", ca.certificate.to_str().unwrap()];
    if let Some(papers) = client {
        arguments.extend(["--tls-certificate", papers.certificate.to_str().unwrap()]);
        arguments.extend(["--tls-key", papers.key.to_str().unwrap()]);
    }
    let environment = [
        ("FARMERA_ORDERS_URL", url),
        ("FARMERA_PRODUCTS_URL", url),
        ("FARMERA_PAYMENT_URL", url),
        ("FARMERA_NOTIFICATION_URL", url),
    ];
    tokio::process::Command::from(command(&arguments, &environment)).output().await.unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_vouched_for_is_talked_to() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client, stranger) =
        (papers(folder.path(), "server"), papers(folder.path(), "client"), papers(folder.path(), "stranger"));
    let (url, serving) = serve(&server, &client).await;
    let talking = async {
        let known = services(&url, &server, Some(&client)).await;
        assert!(known.code == 0 && known.out.matches("SERVING").count() == 4, "{known:?}");
        for refused in [
            services(&url, &stranger, Some(&client)).await,
            services(&url, &server, Some(&stranger)).await,
            services(&url, &server, None).await,
        ] {
            assert_eq!((refused.code, refused.err.lines().count()), (7, 1), "{refused:?}");
            assert!(!refused.out.contains(" SERVING"), "{refused:?}");
        }
    };
    tokio::select! {
        () = talking => {}
        _ = serving => unreachable!("a server serves until it is dropped"),
    }
}
