//! Health, overall and of the service.

use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{Harness, connect, within};

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_its_service_are_healthy_until_it_drains() {
    let harness = Harness::start().await;
    let mut client = HealthClient::new(connect(harness.server.grpc()).await);
    let services = ["", "undertone.v1.EmotionService", "undertone.v1.SupervisionService"];
    for service in services {
        let health = client.check(request(service)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(client.check(request("no.such")).await.unwrap_err().code(), Code::NotFound);

    let mut watched = Vec::new();
    for service in services {
        let mut watch = client.watch(request(service)).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        watched.push(watch);
    }
    let Harness { server, client } = harness;
    drop(client);
    let stopping = tokio::spawn(server.stop());
    for mut watch in watched {
        let told = within("the news", watch.message()).await.unwrap().unwrap();
        assert_eq!(told.status(), ServingStatus::NotServing);
        // Who watches does not hold the shutdown up.
        assert!(!matches!(within("the end", watch.message()).await, Ok(Some(_))));
    }
    within("stopping", stopping).await.unwrap().unwrap();
}
