import TLS
import Testing

@Suite struct TLSContextTests {
    @Test func missingCertificateIsNamed() {
        #expect {
            _ = try TLSContext(serverCertificate: "/nonexistent/certificate.pem", privateKey: "/nonexistent/key.pem")
        } throws: { error in
            "\(error)".contains("/nonexistent/certificate.pem")
        }
    }

    @Test func clientContextNeedsNothing() throws {
        _ = try TLSContext(clientVerifying: false)
        _ = try TLSContext(clientVerifying: true, minimum: .v13)
    }
}
