import DNS
import Daemon
import TSIG

#if canImport(Glibc)
import Glibc
#endif

/// The file of a key that messages are signed with, reached from its directory's descriptor: after rights were given up its
/// path may be out of reach. What is here blocks.
package struct TSIGKeyFile: Sendable {
    /// What TSIG records call the key.
    let key: DomainName
    /// The open directory that the file lies in.
    let directory: CInt
    let name: String
    /// The path as the administrator wrote it, for messages.
    let path: String

    package init(key: DomainName, directory: CInt, name: String, path: String) {
        self.key = key
        self.directory = directory
        self.name = name
        self.path = path
    }

    /// The most octets that the file may have.
    private static let maximumOctets = 4096

    /// How the file is now; nil where it can't be looked at.
    var version: FileVersion? { FileVersion(of: name, in: directory) }

    /// The key that is in the file.
    func load() throws(TSIGKeyFileError) -> TSIGKey {
        let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system(errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
        guard status.st_mode & 0o007 == 0 else { throw .readableForAll }
        guard let octets = WholeFile.octets(of: descriptor, maximum: Self.maximumOctets) else { throw .system(errno) }
        do {
            return try TSIGKey(name: key, text: String(decoding: octets, as: UTF8.self))
        } catch {
            throw .text(error)
        }
    }
}

/// Why a key's file gives no key.
package enum TSIGKeyFileError: Error, Equatable, CustomStringConvertible {
    /// What the system said (`errno`).
    case system(CInt)
    case notAFile
    case readableForAll
    case text(TSIGKey.TextError)

    package var description: String {
        switch self {
        case .system(let code): String(cString: strerror(code))
        case .notAFile: "not a file"
        case .readableForAll: "it holds a secret, but everybody may read it"
        case .text(let error): "\(error)"
        }
    }
}
