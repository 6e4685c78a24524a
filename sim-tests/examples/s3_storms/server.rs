//! Sockets: S3's requests, and a few of the operator's under `/-/`.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /-/counts` | a line for each thing that was counted: requests, bytes, faults that fired, what the bucket holds |
//! | `POST /-/plan` | from now on the store does what this plan says |
//! | `POST /-/seed?N` | the same with the plan that `karst-sim` draws from this seed, all faults on; the answer is that plan |
//! | `POST /-/lose?PREFIX` | loses the latest object with that prefix: the planted bug of a test that must notice |

use crate::s3::{Bucket, Cut};
use crate::store::Store;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use karst_runtime_sim::seed::Seed;
use karst_sim::plan::{Plan, Profile};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait.
const CONNECTIONS: usize = 256;

/// The longest plan that is taken.
const PLAN: usize = 1 << 20;

/// Serves for ever.
pub(crate) async fn serve(
    listener: TcpListener,
    bucket: String,
    keys: (String, String),
    store: Store,
) -> io::Result<()> {
    let mut builder = S3ServiceBuilder::new(Bucket { name: bucket, store: store.clone() });
    builder.set_auth(SimpleAuth::from_single(keys.0, keys.1));
    let service = builder.build();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.expect("it is never closed");
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (service, store) = (service.clone(), store.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(&service, &store, request));
            // How it ends, in a fault or because a client goes, is of no interest.
            let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

/// An error breaks the connection.
async fn answer(service: &S3Service, store: &Store, request: Request<Incoming>) -> Result<Response<Body>, String> {
    if let Some(asked) = request.uri().path().strip_prefix("/-/").map(str::to_owned) {
        return Ok(control(store, &asked, request).await);
    }
    store.count(class(&request));
    let cut = Cut::default();
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(cut.clone());
    let answer = service.call(request).await.map_err(|error| format!("{error:?}"));
    if cut.is_cut() { Err("cut off, as it should be".into()) } else { answer }
}

/// What S3 would write on the bill.
fn class(request: &Request<Incoming>) -> &'static str {
    let uri = request.uri();
    let has_key = uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let query = uri.query().unwrap_or_default();
    match *request.method() {
        Method::PUT if has_key && !query.contains("partNumber") => "requests.put",
        Method::GET if has_key => "requests.get",
        Method::GET if query.contains("list-type") => "requests.list",
        Method::HEAD => "requests.head",
        Method::DELETE if has_key && !query.contains("uploadId") => "requests.delete",
        _ => "requests.other",
    }
}

async fn control(store: &Store, asked: &str, request: Request<Incoming>) -> Response<Body> {
    match (request.method().clone(), asked) {
        (Method::GET, "counts") => said(StatusCode::OK, store.report().await),
        (Method::POST, "plan") => {
            let text = match Body::from(request.into_body()).store_all_limited(PLAN).await {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) => return said(StatusCode::BAD_REQUEST, error.to_string()),
            };
            match Plan::from_text(&text) {
                Ok(plan) => {
                    store.set_plan(plan);
                    said(StatusCode::OK, String::new())
                }
                Err(error) => said(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        (Method::POST, "seed") => match request.uri().query().unwrap_or_default().parse() {
            Ok(seed) => {
                let plan = Plan::from_seed(Seed(seed), Profile::Storm);
                let text = plan.to_text();
                store.set_plan(plan);
                said(StatusCode::OK, text)
            }
            Err(_) => said(StatusCode::BAD_REQUEST, "that is not a number".into()),
        },
        (Method::POST, "lose") => {
            let prefix = request.uri().query().unwrap_or_default().to_owned();
            said(StatusCode::OK, store.lose(prefix).await)
        }
        _ => said(StatusCode::NOT_FOUND, format!("there is no {asked}")),
    }
}

fn said(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
