import CertificateMaker
import Foundation
import TLS
import Testing

@Suite struct TLSContextTests {
    @Test func missingCertificateIsNamed() {
        #expect {
            _ = try TLSContext(serverCertificate: "/nonexistent/certificate.pem", privateKey: "/nonexistent/key.pem")
        } throws: { error in
            "\(error)" == "certificate /nonexistent/certificate.pem: No such file or directory"
        }
    }

    /// Each with what an administrator can mend.
    @Test func whatIsWrongWithTheFilesIsSaid() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "martlet-tls-\(UInt64.random(in: 0 ... .max))"
        )
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        func path(_ name: String) -> String { directory.appendingPathComponent(name).path }
        func openssl(_ arguments: [String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.arguments = arguments
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
        }
        for name in ["one", "two"] {
            let key = [
                "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path("\(name).key"),
            ]
            try openssl(["req", "-x509", "-subj", "/CN=mail.example.test", "-out", path("\(name).pem")] + key)
        }
        try openssl(["ec", "-in", path("one.key"), "-aes128", "-passout", "pass:secret", "-out", path("locked.key")])
        try Data("nothing\n".utf8).write(to: URL(fileURLWithPath: path("empty")))
        func reason(_ certificate: String, _ key: String) -> String {
            do {
                _ = try TLSContext(serverCertificate: path(certificate), privateKey: path(key))
                return ""
            } catch {
                return "\(error)".replacingOccurrences(of: directory.path, with: "D")
            }
        }
        #expect(reason("one.pem", "one.key") == "")
        #expect(reason("one.pem", "absent.key") == "private key D/absent.key: No such file or directory")
        #expect(reason("one.pem", "two.key") == "private key D/two.key: it does not belong to the certificate")
        #expect(reason("empty", "one.key") == "certificate D/empty: it holds nothing in PEM format that belongs there")
        #expect(reason("one.pem", "empty") == "private key D/empty: it holds nothing in PEM format that belongs there")
        #expect(
            reason("one.pem", "locked.key")
                == "private key D/locked.key: it is encrypted; the key is needed without a passphrase"
        )
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

    @Test func namesInAClientsCertificate() throws {
        let chain = try CertificateChain(pem: TestPair(["Al\u{ED}ce", "other"]).certificate)
        let names = ClientCertificate.commonNames(of: chain.certificates[0])
        #expect(names.subject == "Al\u{ED}ce" && names.issuer == "Al\u{ED}ce")
        // What isn't text is no name.
        let odd = try CertificateChain(pem: TestPair(["a\r\nb"]).certificate)
        #expect(ClientCertificate.commonNames(of: odd.certificates[0]).subject == nil)
        let rubbish = ClientCertificate.commonNames(of: [0x30, 0x03, 0x02, 0x01, 0x00])
        #expect(rubbish.subject == nil && rubbish.issuer == nil)
    }
}
