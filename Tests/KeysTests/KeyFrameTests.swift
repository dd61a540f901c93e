import Bus
import Cryptography
import NIOCore
import TLS
import Testing

@testable import Keys

@Suite struct KeyFrameTests {
    /// What a server of TLS 1.3 signs.
    private static let content =
        [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, server CertificateVerify\0".utf8)
        + [UInt8](repeating: 7, count: 48)
    private let name = KeyName(.tls, subjectPublicKeyInfo: [1, 2, 3])

    @Test func requestsComeBackAsTheyWere() throws {
        let requests: [KeyRequest] = [
            .certificate(serverName: "mail.example", schemes: [.ecdsaWithSHA256, .rsaPSSWithSHA256]),
            .certificate(serverName: nil, schemes: SigningAlgorithm.allCases.filter { $0.purpose == .tls }),
            .certificates,
            .sign(key: name, algorithm: .ecdsaWithSHA384, octets: Self.content),
            .sign(key: name, algorithm: .ed25519, octets: Self.content),
            .sign(
                key: KeyName(.dkim, subjectPublicKeyInfo: [4]),
                algorithm: .dkimRSA,
                octets: [UInt8](repeating: 1, count: 32)
            ),
            .dkim(domain: "example.test"),
            .tickets(service: "imapd"),
            .watch,
        ]
        for request in requests { #expect(try KeyRequest(request.frame) == request) }
    }

    @Test func whatIsWrongIsNamed() {
        func fault(_ frame: Frame) -> KeyRequest.Fault? {
            do throws(KeyRequest.Fault) {
                _ = try KeyRequest(frame)
                return nil
            } catch {
                return error
            }
        }
        func sign(_ algorithm: String, _ count: Int, key: String? = nil) -> Frame {
            Frame(
                "SIGN",
                ["key": key ?? name.description, "algorithm": algorithm],
                body: ByteBuffer(repeating: 0, count: count)
            )
        }
        #expect(fault(Frame("EXPORT")) == .unknownVerb)
        // Digests could be anything's.
        for count in [0, 32, KeyRequest.maximumOctets + 1] {
            #expect(fault(sign("rsa_pss_rsae_sha256", count)) == .malformed("octets"))
            #expect(fault(sign("ed25519", count)) == .malformed("octets"))
        }
        let mail = KeyName(.dkim, subjectPublicKeyInfo: [4]).description
        #expect(fault(sign("rsa-sha256", 31, key: mail)) == .malformed("size"))
        #expect(fault(sign("ed25519-sha256", 130, key: mail)) == .malformed("size"))
        #expect(fault(sign("rsa_pss_rsae_sha1", 20)) == .malformed("algorithm"))
        // A key for TLS signs no mail.
        #expect(fault(sign("rsa-sha256", 32)) == .malformed("algorithm"))
        #expect(fault(sign("ed25519", 3, key: "tls-../../etc/tls/private-key.pem")) == .malformed("key"))
        for domain in ["../tls", "a..b", "", ".", "b\u{e4}.example"] {
            #expect(fault(Frame("DKIM", ["domain": domain])) == .malformed("domain"), "\(domain)")
        }
        #expect(fault(Frame("TICKETS")) == .malformed("service"))
    }

    @Test func schemesOfTLSHaveTheirNumbers() {
        for algorithm in SigningAlgorithm.allCases {
            guard let scheme = algorithm.scheme else {
                #expect(algorithm.purpose == .dkim)
                continue
            }
            #expect(SigningAlgorithm(scheme: scheme) == algorithm)
        }
        #expect(SigningAlgorithm(scheme: 0x0201) == nil)
    }

    @Test func ticketKeysComeBackAsTheyWere() {
        let keys = TicketKeys(keys: [TicketKey(), TicketKey()], lifetime: 3600)
        #expect(TicketKeys(Frame.ok(tag: "1", keys.fields)) == keys)
        #expect(keys.keys[0] != keys.keys[1])
        #expect(TicketKeys(Frame.ok(tag: nil, [.init("lifetime", "60"), .init("ticket-key", "AAAA")])) == nil)
        #expect(TicketKeys(Frame.ok(tag: nil, [.init("lifetime", "-1")])) == nil)
    }

    @Test func selectorsComeBackAsTheyWere() {
        let keys = [
            DKIMKey(selector: "a", algorithm: .dkimRSA, key: KeyName(.dkim, subjectPublicKeyInfo: [1])),
            DKIMKey(selector: "b", algorithm: .dkimEd25519, key: KeyName(.dkim, subjectPublicKeyInfo: [2])),
        ]
        #expect(DKIMKey.all(in: Frame.ok(tag: nil, keys.flatMap(\.fields))) == keys)
        #expect(DKIMKey.all(in: Frame.ok(tag: nil, [.init("selector", "a")])) == nil)
    }
}
