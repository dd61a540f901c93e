import Files
import Glibc

@testable import KeyService

/// A directory with keys, gone with its owner.
final class KeyDirectory {
    let path = "/tmp/martlet-keys-\(UInt64.random(in: 0 ... .max))"
    let handle: FileHandle

    init() {
        mkdir(path, 0o700)
        handle = FileHandle(open(path, O_RDONLY | O_DIRECTORY))
    }

    deinit {
        close(handle.descriptor)
        remove(path)
    }

    private func remove(_ place: String) {
        for name in (try? KernelFileSystem().names(place, in: nil)) ?? [] {
            let inner = "\(place)/\(String(decoding: name, as: UTF8.self))"
            if unlink(inner) != 0 { remove(inner) }
        }
        rmdir(place)
    }

    /// Writes a file as a whole, and the directory that it's in.
    func write(_ octets: some Sequence<UInt8>, to name: String) {
        if let slash = name.lastIndex(of: "/") { mkdir("\(path)/\(name[..<slash])", 0o700) }
        guard let file = fopen("\(path)/\(name).new", "w") else { fatalError("can't write \(name)") }
        let octets = Array(octets)
        fwrite(octets, 1, octets.count, file)
        fclose(file)
        rename("\(path)/\(name).new", "\(path)/\(name)")
    }

    func remove(file name: String) { unlink("\(path)/\(name)") }

    func file(_ name: String) -> KeyFile { KeyFile(path: "\(path)/\(name)", directory: handle) }
}
