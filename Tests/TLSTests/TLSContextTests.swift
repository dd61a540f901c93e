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

    @Test func namesOfProtocolsHaveALimit() {
        for names in [[""], [String(repeating: "x", count: 256)], [String](repeating: "http/1.1", count: 40)] {
            #expect(throws: TLSError.self) { _ = try TLSContext(clientVerifying: false, protocols: names) }
        }
    }

    @Test func missingAuthoritiesAreNamed() {
        #expect {
            _ = try TLSContext(clientVerifying: true, authorities: "/nonexistent/authorities.pem")
        } throws: { error in
            "\(error)".contains("/nonexistent/authorities.pem")
        }
    }

    @Test func clientContextNeedsNothing() throws {
        _ = try TLSContext(clientVerifying: false)
        _ = try TLSContext(clientVerifying: true, minimum: .v13)
    }
}
