import Bus
import Cryptography
import Keys

/// The keys that there are at a moment.
struct KeyRing: Sendable {
    /// Our own name, for clients that name no server.
    var hostname: String
    private(set) var certificates: [ServedCertificate] = []
    /// As they are told, without a tag: made once.
    private(set) var frames: [Frame] = []
    /// What signs for mail, by domain.
    var dkim: [String: DKIMKeys.Signers] = [:]
    /// Why the keys for mail can't be read; nil where they can.
    var dkimTrouble: String?
    var keys: [KeyName: PrivateKey] = [:]
    /// Keys of TLS that remote-relay may have sign.
    var clientKeys: Set<KeyName> = []

    init(hostname: String) { self.hostname = hostname }

    mutating func use(_ certificates: [ServedCertificate]) {
        guard certificates != self.certificates else { return }
        self.certificates = certificates
        frames = certificates.map { $0.frame(tag: nil) }
    }

    /// The certificate for a client: the first one that it may use.
    ///
    /// - Parameters:
    ///   - name: of the server, as the client has it.
    ///   - schemes: by which the client takes signatures.
    func certificate(for name: String?, schemes: [SigningAlgorithm]) -> ServedCertificate? {
        ServedCertificate.shown(to: name, of: certificates, hostname: hostname).first { certificate in
            schemes.contains { $0.suits(certificate.kind) }
        }
    }

    /// - Parameter octets: under TLS, what is to be signed; under DKIM, its digest.
    /// - Returns: nil for a key that isn't there, or doesn't sign so.
    func sign(_ octets: [UInt8], with name: KeyName, _ algorithm: SigningAlgorithm) -> [UInt8]? {
        guard let key = keys[name], algorithm.suits(key.kind) else { return nil }
        guard let digest = algorithm.digest else {
            let signature = key.signature(of: octets, using: nil)
            return signature.isEmpty ? nil : signature
        }
        let digested = algorithm.purpose == .tls ? digest.digest(of: octets) : octets
        return key.signature(ofDigest: digested, by: digest, padding: algorithm.padding)
    }
}
