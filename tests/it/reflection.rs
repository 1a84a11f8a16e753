//! Both versions of reflection list and describe the services.

use tokio_stream::{StreamExt as _, once};
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::{Harness, connect, within};

/// What a client asks and what it must be answered, in one version of the protocol.
macro_rules! reflects {
    ($name:ident, $version:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            use $version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let harness = Harness::start().await;
            let mut client = ServerReflectionClient::new(connect(harness.server.grpc()).await);
            let mut ask = async |question| {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                let answers = within("asking", client.server_reflection_info(once(request))).await.unwrap();
                let answer = within("an answer", answers.into_inner().next()).await.unwrap().unwrap();
                answer.message_response.unwrap()
            };
            let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await
            else {
                panic!("no list")
            };
            let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
            let services = ["undertone.v1.EmotionService", "undertone.v1.SupervisionService", "grpc.health.v1.Health"];
            let listed = |name: &&str| names.iter().any(|listed| listed == name);
            assert!(services.iter().all(listed), "{names:?}");
            // What a status carries must be readable as well.
            let details = ["BadRequest", "RetryInfo", "PreconditionFailure", "ResourceInfo", "QuotaFailure"];
            let details = details.map(|name| format!("google.rpc.{name}"));
            for name in services.into_iter().chain(details.iter().map(String::as_str)) {
                let symbol = MessageRequest::FileContainingSymbol(name.to_owned());
                let MessageResponse::FileDescriptorResponse(described) = ask(symbol).await else {
                    panic!("{name} is not described")
                };
                assert!(!described.file_descriptor_proto.is_empty());
            }
            harness.stop().await;
        }
    };
}

reflects!(version_1, v1);
reflects!(version_1_alpha, v1alpha);
