import Cryptography
import Keys

/// The keys that there are at a moment.
struct KeyRing: Sendable {
    /// Our own name, for clients that name no server.
    var hostname: String
    var certificates: [ServedCertificate] = []
    /// What signs for mail, by domain.
    var dkim: [String: DKIMKeys.Signers] = [:]
    /// Why the keys for mail can't be read; nil where they can.
    var dkimTrouble: String?
    var keys: [KeyName: PrivateKey] = [:]

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

    /// nil for a key that isn't there.
    func sign(_ octets: [UInt8], with name: KeyName, _ algorithm: SigningAlgorithm) -> [UInt8]? {
        guard let key = keys[name], algorithm.suits(key.kind) else { return nil }
        guard let digest = algorithm.digest else {
            let signature = key.signature(of: octets, using: nil)
            return signature.isEmpty ? nil : signature
        }
        return key.signature(ofDigest: octets, by: digest, padding: algorithm.padding)
    }
}
