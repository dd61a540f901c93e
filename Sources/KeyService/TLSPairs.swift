import Cryptography
import Daemon
import Files
import Keys
import TLS

/// Certificates with their keys, as the configuration names them. A pair that is half written, or wrong, isn't taken: the one before
/// it stays.
struct TLSPairs: Sendable {
    private struct Stamps: Equatable {
        var certificate: KeyFile.Stamp?
        var privateKey: KeyFile.Stamp?
        var ocsp: KeyFile.Stamp?
    }

    private struct Pair {
        let name: String
        let certificate: KeyFile
        let privateKey: KeyFile
        let ocsp: KeyFile
        var stamps: Stamps?
        var taken: (served: ServedCertificate, key: PrivateKey)?
        /// What the log says of it.
        var trouble: String?
    }

    private var pairs: [Pair]

    /// - Parameter file: a file by its path.
    init(_ settings: [TLSConfiguration.Pair], file: (String) -> KeyFile) {
        pairs = settings.map {
            Pair(
                name: $0.name,
                certificate: file($0.certificate),
                privateKey: file($0.privateKey),
                ocsp: file($0.ocsp)
            )
        }
    }

    /// What is served, in the order of the configuration.
    var certificates: [ServedCertificate] { pairs.compactMap(\.taken?.served) }

    var keys: [KeyName: PrivateKey] {
        Dictionary(pairs.compactMap(\.taken).map { ($0.served.key, $0.key) }) { first, _ in first }
    }

    /// Reads what has changed.
    ///
    /// - Parameter all: also what hasn't.
    mutating func look(_ files: any FileSystem, all: Bool = false) -> [KeyEvent] {
        var events: [KeyEvent] = []
        for index in pairs.indices {
            if let event = look(&pairs[index], files, again: all) { events.append(event) }
        }
        return events
    }

    private func look(_ pair: inout Pair, _ files: any FileSystem, again: Bool) -> KeyEvent? {
        // Looked at before they are read: what changes in between is seen the next time.
        let stamps = Stamps(
            certificate: pair.certificate.stamp(files),
            privateKey: pair.privateKey.stamp(files),
            ocsp: pair.ocsp.stamp(files)
        )
        guard again || stamps != pair.stamps else { return nil }
        pair.stamps = stamps
        do throws(TLSError) {
            let (served, key) = try Self.read(pair, hasOCSP: stamps.ocsp != nil, files)
            let isNew = served != pair.taken?.served
            pair.taken = (served, key)
            guard isNew || pair.trouble != nil else { return nil }
            pair.trouble = nil
            return KeyEvent(isTrouble: false, text: "certificate for \(pair.name) read", path: pair.certificate.path)
        } catch {
            // What couldn't be read just now can be the next time.
            pair.stamps = nil
            guard pair.trouble != error.description else { return nil }
            pair.trouble = error.description
            let rest = pair.taken == nil ? "there is none for \(pair.name)" : "the one before stays"
            return KeyEvent(isTrouble: true, text: "\(error); \(rest)", path: pair.certificate.path)
        }
    }

    private static func read(
        _ pair: Pair,
        hasOCSP: Bool,
        _ files: any FileSystem
    ) throws(TLSError) -> (ServedCertificate, PrivateKey) {
        let octets: (certificate: [UInt8], keys: [UInt8])
        do throws(TLSError) {
            octets.certificate = try contents(pair.certificate, files, maximum: CertificateChain.maximumOctets)
        } catch {
            throw .configuration("certificate \(pair.certificate.path): \(error)")
        }
        do throws(TLSError) {
            octets.keys = try contents(pair.privateKey, files, maximum: CertificatePair.maximumKeyOctets)
        } catch {
            throw .configuration("private key \(pair.privateKey.path): \(error)")
        }
        // Without the response clients ask the authority themselves: no reason to keep the certificate back.
        let ocsp = hasOCSP ? try? contents(pair.ocsp, files, maximum: ServedCertificate.maximumOCSP) : nil
        do throws(CertificatePair.Fault) {
            let read = try CertificatePair(
                certificate: octets.certificate,
                keys: octets.keys,
                ocsp: ocsp.flatMap { $0.isEmpty ? nil : $0 }
            )
            return (read.certificate, read.key)
        } catch {
            switch error {
            case .certificate(let reason): throw .configuration("certificate \(pair.certificate.path): \(reason)")
            case .key(let reason): throw .configuration("private key \(pair.privateKey.path): \(reason)")
            case .strangers:
                throw .configuration(
                    "private key \(pair.privateKey.path) does not belong to certificate \(pair.certificate.path)"
                )
            }
        }
    }

    private static func contents(
        _ file: KeyFile,
        _ files: any FileSystem,
        maximum: Int
    ) throws(TLSError) -> [UInt8] {
        do throws(FileError) {
            return try file.contents(files, maximum: maximum)
        } catch {
            throw .configuration(error.description)
        }
    }
}
