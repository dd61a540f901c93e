#if canImport(Glibc)
import Glibc
#endif

/// A call as it is remembered for the case that the run fails.
struct SimulatedCall: CustomStringConvertible {
    var number: Int
    var operation: SimulatedOperation
    var directory: String
    var path: String
    var newDirectory = ""
    var newPath = ""
    /// Octets, where the call has some.
    var octets = -1
    var offset = -1
    /// errno; 0 where it did its work.
    var code: Int32 = 0

    var description: String {
        var text = "\(number) \(operation) \(Self.join(directory, path))"
        if !newPath.isEmpty { text += " to \(Self.join(newDirectory, newPath))" }
        if octets >= 0 { text += " \(octets) octets" }
        if offset >= 0 { text += " at \(offset)" }
        if code != 0 { text += ": \(String(cString: strerror(code)))" }
        return text
    }

    static func join(_ directory: String, _ path: String) -> String {
        if directory.isEmpty || path.hasPrefix("/") { return path }
        return path.isEmpty || path == "." ? directory : "\(directory)/\(path)"
    }
}
