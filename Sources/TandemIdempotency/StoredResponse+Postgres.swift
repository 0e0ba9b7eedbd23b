import Foundation
import TandemCore

extension StoredResponse {
    /// The headers as they are stored: a list, since names may appear twice and their order counts.
    var headersJSON: String { get throws { JSON.array(headers.map { .array([.string($0.name), .string($0.value)]) }).text } }

    /// - Parameters:
    ///   - status: as it was stored; 0 for a use that committed without a response.
    ///   - headers: as they were stored.
    ///   - body: as it was stored.
    init(status: Int?, headers: String?, body: [UInt8]?) {
        self.init(status: status ?? 0, body: body ?? [])
        guard let headers, case .array(let all)? = try? JSON(reading: headers) else { return }
        self.headers = all.compactMap { header in
            guard case .array(let pair) = header, pair.count == 2, case .string(let name) = pair[0], case .string(let value) = pair[1] else { return nil }
            return Header(name, value)
        }
    }
}
