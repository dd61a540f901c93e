import Cryptography
import Encodings
import TLS
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// An authority and certificates of it, made by the openssl command.
final class TestAuthority: Sendable {
    /// The certificates that hosts show.
    enum Certificate: String, CaseIterable, Sendable {
        /// For mx.a.net.
        case good
        /// For a.net alone.
        case domain
        /// For mta-sts.a.net.
        case policyHost
        /// For other.net.
        case other
        /// For mx.a.net, a day ago.
        case expired
        /// For mx.a.net, by itself.
        case own
    }

    private let directory: String

    /// PEM.
    var file: String { "\(directory)/authority.crt" }

    init() throws {
        var template = Array("/tmp/martlet-authority-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        let names: [(Certificate, String, Int)] = [
            (.good, "mx.a.net", 2), (.domain, "a.net", 2), (.policyHost, "mta-sts.a.net", 2), (.other, "other.net", 2),
            (.expired, "mx.a.net", -1),
        ]
        var script =
            "cd \(directory) && openssl req -x509 \(key) -days 2 -subj /CN=authority -keyout authority.key -out authority.crt"
        for (name, host, days) in names {
            script += " && openssl req -new \(key) -subj /CN=x -keyout \(name).key -out \(name).csr"
            script += " && echo subjectAltName=DNS:\(host) > \(name).ext"
            script += " && openssl x509 -req -in \(name).csr -CA authority.crt -CAkey authority.key -CAcreateserial"
            script += " -days \(days) -extfile \(name).ext -out leaf.crt && cat leaf.crt authority.crt > \(name).crt"
        }
        script += " && openssl req -x509 \(key) -days 2 -subj /CN=x -addext subjectAltName=DNS:mx.a.net"
        script += " -keyout own.key -out own.crt"
        for name in Certificate.allCases.map(\.rawValue) + ["authority"] {
            script += " && openssl x509 -in \(name).crt -noout -pubkey > \(name).pub"
        }
        try #require(system("(\(script)) 2>/dev/null >/dev/null") == 0)
    }

    deinit { _ = system("rm -rf \(directory)") }

    func server(_ certificate: Certificate) throws -> TLSContext {
        try TLSContext(
            serverCertificate: "\(directory)/\(certificate).crt",
            privateKey: "\(directory)/\(certificate).key"
        )
    }

    func client() throws -> TLSContext { try TLSContext(clientVerifying: true, authorities: file) }

    /// A TLSA record of a certificate, or of the authority (nil).
    ///
    /// - Parameter selector: 0 the certificate, 1 its key.
    func record(
        _ usage: UInt8,
        _ selector: UInt8,
        _ matching: UInt8,
        _ certificate: Certificate?
    ) throws -> DANERecord {
        let data = try octets(certificate, selector)
        let compared =
            switch matching {
            case 1: HashFunction.sha256.digest(of: data)
            case 2: HashFunction.sha512.digest(of: data)
            default: data
            }
        return DANERecord(usage: usage, selector: selector, matching: matching, data: compared)
    }

    /// SHA-256 of a certificate in hexadecimal.
    func fingerprint(_ certificate: Certificate) throws -> String {
        HashFunction.sha256.digest(of: try octets(certificate, 0)).map { octet in
            (octet < 16 ? "0" : "") + String(octet, radix: 16)
        }.joined()
    }

    /// The first block of a PEM file.
    private func octets(_ certificate: Certificate?, _ selector: UInt8) throws -> [UInt8] {
        let path = "\(directory)/\(certificate?.rawValue ?? "authority").\(selector == 0 ? "crt" : "pub")"
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var text: [UInt8] = []
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            if line[0] == CChar(bitPattern: UInt8(ascii: "-")) {
                if text.isEmpty { continue } else { break }
            }
            text += line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
        }
        return try #require(Base64.decode(text))
    }
}
